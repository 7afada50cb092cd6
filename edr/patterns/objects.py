"""The test of an object, and of the value at a field of one.

A condition is data (``tree``). It is compiled to a closure, which runs several times as fast as a
walk over the tree.

Invariant: an object costs a test no more than its own fields do, plus one missing required field.
ObjectPattern that may be absent are tested only if they are there: an object of two fields takes
ten bytes of a body, and a pattern may name a hundred.
"""

from __future__ import annotations

from edr.patterns.arrays import has_object
from edr.patterns.field_matcher import ABSENT, FieldMatcher, Test
from edr.patterns.object_pattern import ObjectPattern, cost_rank


def test_of_object(node: ObjectPattern) -> Test:
    """Return the test of an object."""
    # The verdict on an absent value is known in advance, and common enough to save the call.
    ordered = sorted(node.fields, key=cost_rank)
    required = tuple((n, test_below(c)) for n, c in ordered if not c.accepts_absence())
    optional = tuple((n, test_below(c)) for n, c in ordered if c.accepts_absence())
    alone, others = node.alternatives_by_field()
    alternatives = tuple(test_of_object(each) for each in others)
    if alone:
        alternatives = (_test_of_any_field(alone), *alternatives)
    if len(required) == 1 and not (optional or alternatives):
        return _test_of_field(*required[0])

    def accepts(body: dict[str, object]) -> bool:
        for name, test in required:
            value = body.get(name, ABSENT)
            if value is ABSENT or not test(value):
                return False
        if optional and not accepts_optional(body):
            return False
        if not alternatives:
            return True
        for alternative in alternatives:  # noqa: SIM110 - a generator takes twice as long
            if alternative(body):
                return True
        return False

    accepts_optional = _test_of_optional(optional)
    return accepts


def _test_of_field(name: str, test: Test) -> Test:
    """Return the test of an object for one field, which is required, and nothing else."""

    def accepts(body: dict[str, object]) -> bool:
        value = body.get(name, ABSENT)
        return value is not ABSENT and test(value)

    return accepts


def _test_of_optional(tests: tuple[tuple[str, Test], ...]) -> Test:
    """Return the test of an object for fields that may be absent; a name may come twice."""
    by_name: dict[str, Test] = {}
    for name, test in tests:
        other = by_name.get(name)
        by_name[name] = test if other is None else _both(test, other)

    def accepts(body: dict[str, object]) -> bool:
        for name in body if len(body) < len(by_name) else by_name:
            value = body.get(name, ABSENT)
            if value is not ABSENT:
                test = by_name.get(name)
                if test is not None and not test(value):
                    return False
        return True

    return accepts


def _test_of_any_field(alone: dict[str, list[FieldMatcher | ObjectPattern]]) -> Test:
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

    def accepts(body: dict[str, object]) -> bool:
        for name in body if len(body) < len(by_name) else by_name:
            test = by_name.get(name)
            if test is not None and name in body and test(body[name]):
                return True
        return False

    return accepts


def _either(test: Test, other: Test) -> Test:
    return lambda value: test(value) or other(value)


def _both(test: Test, other: Test) -> Test:
    return lambda value: test(value) and other(value)


def test_below(child: FieldMatcher | ObjectPattern) -> Test:
    """Return the test of the value at a field: any JSON value, or ``ABSENT``."""
    if isinstance(child, FieldMatcher):
        return child.test()
    test = test_of_object(child)
    without_object = child.accepts_absence()

    def accepts(value: object) -> bool:
        if isinstance(value, dict):
            return test(value)
        if isinstance(value, list):
            return accepts_some(value) or (without_object and not has_object(value))
        return without_object

    def accepts_some(array: list[object]) -> bool:
        for element in array:
            if isinstance(element, dict):
                if test(element):
                    return True
            elif isinstance(element, list) and accepts_some(element):
                return True
        return False

    return accepts
