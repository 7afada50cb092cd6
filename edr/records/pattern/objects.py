"""The test of an object, and of what is at a field of one.

A condition is data (``tree``), and is compiled to a closure, which runs several times as fast as a
walk over the tree. A test is given what was seen of the body's arrays in the same match, and adds
to it (``arrays``).

Invariant: an object costs a test no more than its own fields do, and a missing one that is asked
for. Fields that may be absent are looked at only if they are there, as an object of two fields
takes ten bytes of a body, and a pattern may ask it for a hundred.
"""

from __future__ import annotations

from collections.abc import Callable

from edr.records.pattern.arrays import (
    SHORT,
    VERY_SHORT,
    Contents,
    Seen,
    contents_of,
)
from edr.records.pattern.layers import SCALARS
from edr.records.pattern.leaf import ABSENT, Leaf, Test
from edr.records.pattern.sieves import TestOfObjects, sieve_of, test_of_some_by
from edr.records.pattern.tree import Fields, dearness


def test_of_object(node: Fields) -> Test:
    """Return the test of an object."""
    # The verdict on nothing is known beforehand, and so common that it is worth no call.
    ordered = sorted(node.fields, key=dearness)
    required = tuple((n, test_below(c)) for n, c in ordered if not c.accepts_absence())
    optional = tuple((n, test_below(c)) for n, c in ordered if c.accepts_absence())
    alone, others = node.alternatives_by_field()
    alternatives = tuple(test_of_object(each) for each in others)
    if alone:
        alternatives = (_test_of_any_field(alone), *alternatives)
    if len(required) == 1 and not (optional or alternatives):
        return _test_of_field(*required[0])

    def accepts(body: dict[str, object], seen: Seen) -> bool:
        for name, test in required:
            value = body.get(name, ABSENT)
            if value is ABSENT or not test(value, seen):
                return False
        if optional and not accepts_optional(body, seen):
            return False
        if not alternatives:
            return True
        for alternative in alternatives:  # noqa: SIM110 - a generator takes twice as long
            if alternative(body, seen):
                return True
        return False

    accepts_optional = _test_of_optional(optional)
    return accepts


def _test_of_field(name: str, test: Test) -> Test:
    """Return the test of an object for one field, which is required, and nothing else."""

    def accepts(body: dict[str, object], seen: Seen) -> bool:
        value = body.get(name, ABSENT)
        return value is not ABSENT and test(value, seen)

    return accepts


def _test_of_optional(tests: tuple[tuple[str, Test], ...]) -> Test:
    """Return the test of an object for fields that may be absent; a name may come twice."""
    by_name: dict[str, Test] = {}
    for name, test in tests:
        other = by_name.get(name)
        by_name[name] = test if other is None else _both(test, other)

    def accepts(body: dict[str, object], seen: Seen) -> bool:
        for name in body if len(body) < len(by_name) else by_name:
            value = body.get(name, ABSENT)
            if value is not ABSENT:
                test = by_name.get(name)
                if test is not None and not test(value, seen):
                    return False
        return True

    return accepts


def _test_of_any_field(alone: dict[str, list[Leaf | Fields]]) -> Test:
    """Return the test of an object for one of several fields."""
    by_name: dict[str, Test] = {}
    for name, children in alone.items():
        first, *more = map(test_below, children)
        for test in more:
            first = _either(first, test)
        by_name[name] = first
    if len(by_name) == 1:
        ((name, test),) = by_name.items()
        return _test_of_field(name, test)

    def accepts(body: dict[str, object], seen: Seen) -> bool:
        for name in body if len(body) < len(by_name) else by_name:
            test = by_name.get(name)
            if test is not None and name in body and test(body[name], seen):
                return True
        return False

    return accepts


def _either(test: Test, other: Test) -> Test:
    return lambda value, seen: test(value, seen) or other(value, seen)


def _both(test: Test, other: Test) -> Test:
    return lambda value, seen: test(value, seen) and other(value, seen)


def test_below(child: Leaf | Fields) -> Test:
    """Return the test of what is at a field: any JSON value, or ``ABSENT``."""
    if isinstance(child, Leaf):
        return child.test()
    test = test_of_object(child)
    without_object = child.accepts_absence()
    test_of_array = _test_of_array(child, test, without_object=without_object)

    def accepts(value: object, seen: Seen) -> bool:
        if isinstance(value, dict):
            return test(value, seen)
        return test_of_array(value, seen) if isinstance(value, list) else without_object

    return accepts


def _test_of_array(node: Fields, test: Test, *, without_object: bool) -> Test:
    """Return the test of an array for an object in it, given that of an object and of none."""
    some = _test_of_contents(node, test, without_object=without_object)

    def accepts(array: list[object], seen: Seen) -> bool:
        if len(array) > SHORT:
            return some(contents_of(array, seen), seen)
        if len(array) > VERY_SHORT and SCALARS.issuperset(map(type, array)):
            return without_object
        if len(array) == 1 and type(array[0]) in SCALARS:
            return without_object
        none = True
        for element in array:
            if isinstance(element, dict):
                if test(element, seen) if element else without_object:
                    return True
                none = False
            elif isinstance(element, list):
                return some(contents_of(array, seen), seen)
        return none and without_object

    return accepts


def _test_of_contents(
    node: Fields, test: Test, *, without_object: bool
) -> Callable[[Contents, Seen], bool]:
    test_of_some: TestOfObjects | None = None

    def accepts(contents: Contents, seen: Seen) -> bool:
        nonlocal test_of_some
        if without_object and contents.with_empty:
            return True
        objects = contents.objects
        if len(objects) <= SHORT:
            return any(test(each, seen) for each in objects)
        if test_of_some is None:
            # Not before: each object would compile what is below it twice, and that twice, too.
            test_of_some = test_of_some_by(sieve_of(node))
        return test_of_some(objects)

    return accepts
