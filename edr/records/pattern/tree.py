"""The tree that a body pattern is: objects and leaves, and how an object tests what a body has.

``Fields``, as ``Leaf``, is data; ``test`` compiles one to a closure, which runs several times as
fast as a walk over the tree. The meaning is told in ``language``. A test is given what was seen of
the body's arrays in the same match, and adds to it (``arrays``).

Invariant: an object costs a test no more than its own fields do, and a missing one that is asked
for. Fields that may be absent are looked at only if they are there, as an object of two fields
takes ten bytes of a body, and a pattern may ask it for a hundred.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from edr.records.pattern.arrays import (
    SCALARS,
    SHORT,
    VERY_SHORT,
    Contents,
    Seen,
    contents_of,
    flattened,
)
from edr.records.pattern.leaf import ABSENT, OR, Leaf, Test

TestOfSome: TypeAlias = Callable[[list[dict[str, Any]], Seen], bool]


@dataclass(frozen=True, slots=True)
class Fields:
    """The condition on one object: all of its fields, and one of its alternatives if it has any.

    Attributes:
        fields: The name of each field with the condition on what is there.
        alternatives: The members of ``$or``; none without it.
    """

    fields: tuple[tuple[str, Leaf | Fields], ...]
    alternatives: tuple[Fields, ...] = ()

    def accepts_absence(self) -> bool:
        """Return whether an object without any field satisfies it."""
        return all(child.accepts_absence() for _, child in self.fields) and (
            not self.alternatives or any(each.accepts_absence() for each in self.alternatives)
        )

    def asks_one_field(self) -> bool:
        """Return whether it asks for one field, which must be there, and nothing else."""
        return len(self.fields) == 1 and not self.alternatives and not self.accepts_absence()

    def test(self) -> Test:
        """Return the test of an object."""
        # The verdict on nothing is known beforehand, and so common that it is worth no call.
        ordered = sorted(self.fields, key=_dearness)
        required = tuple((n, test_below(c)) for n, c in ordered if not c.accepts_absence())
        optional = tuple((n, test_below(c)) for n, c in ordered if c.accepts_absence())
        by_name, others = _dispatched(self.alternatives)
        alternatives = tuple(each.test() for each in others)
        if by_name:
            alternatives = (_test_of_any_field(by_name), *alternatives)
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

    def test_of_some(self) -> TestOfSome:
        """Return the test of whether one of several objects, none of them empty, satisfies it.

        They are sifted field by field: that takes a third of the time of a call for each.
        """
        sieves = []
        optional = []
        # What takes the least time goes first: most objects are gone before the others.
        for name, child in sorted(self.fields, key=_dearness):
            test = test_below(child)
            if child.accepts_absence():
                optional.append((name, test))
            else:
                sieves.append(_sieve(name, child, test))
        if optional:
            accepts_optional = _test_of_optional(tuple(optional))
            sieves.append(
                lambda objects, seen: [each for each in objects if accepts_optional(each, seen)]
            )
        by_name, others = _dispatched(self.alternatives)
        alternatives = [each.test_of_some() for each in others]
        if by_name:
            any_field = _test_of_any_field(by_name)
            alternatives.append(
                lambda objects, seen: any(any_field(each, seen) for each in objects)
            )

        def accepts(objects: list[dict[str, Any]], seen: Seen) -> bool:
            for sieve in sieves:
                objects = sieve(objects, seen)
                if not objects:
                    return False
            return not alternatives or any(test(objects, seen) for test in alternatives)

        def accepts_in_parts(objects: list[dict[str, Any]], seen: Seen) -> bool:
            if len(objects) <= _PART:
                return accepts(objects, seen)
            return any(
                accepts(objects[at : at + _PART], seen) for at in range(0, len(objects), _PART)
            )

        return accepts_in_parts

    def text(self) -> str:
        """Return canonical JSON: equal for objects that differ in the order of fields only."""
        members = [f"{json.dumps(name)}:{_text(child)}" for name, child in sorted_fields(self)]
        if self.alternatives:
            alternatives = ",".join(each.text() for each in self.alternatives)
            members.append(f"{json.dumps(OR)}:[{alternatives}]")
        return "{" + ",".join(members) + "}"


# Objects that are sifted at once: where the first of very many matches, the others are spared.
_PART = 1_024

_Sieve: TypeAlias = Callable[[list[dict[str, Any]], Seen], list[dict[str, Any]]]


def _sieve(name: str, child: Leaf | Fields, test: Test) -> _Sieve:
    """Return what keeps those of several objects that satisfy a field, which is required."""

    def sift(objects: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
        return [
            each
            for each in objects
            if (value := each.get(name, ABSENT)) is not ABSENT and test(value, seen)
        ]

    exact = child.exact() if isinstance(child, Leaf) else None
    if exact is None:
        return sift

    def sift_exact(objects: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
        try:
            return [each for each in objects if each.get(name, ABSENT) in exact]
        except TypeError:  # an array or an object is no key
            return sift(objects, seen)

    return sift_exact


def _dearness(field: tuple[str, Leaf | Fields]) -> int:
    _, child = field
    return 2 if isinstance(child, Fields) else int(child.exact() is None)


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


def _dispatched(members: tuple[Fields, ...]) -> tuple[dict[str, Test], list[Fields]]:
    """Return the tests of the fields that members of ``$or`` ask for alone, and the other members.

    They are as good as one: an object is tested for those of its own fields that are among them.
    """
    alone = [each for each in members if each.asks_one_field()]
    if len(alone) < 2:  # noqa: PLR2004 - of one, the test itself is faster
        return {}, list(members)
    by_name: dict[str, Test] = {}
    for member in alone:
        ((name, child),) = member.fields
        test, other = test_below(child), by_name.get(name)
        by_name[name] = test if other is None else _either(test, other)
    return by_name, [each for each in members if not each.asks_one_field()]


def _test_of_any_field(by_name: dict[str, Test]) -> Test:
    """Return the test of an object for one of several fields."""

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


def sorted_fields(node: Fields) -> list[tuple[str, Leaf | Fields]]:
    """Return the fields of an object pattern in the order of their names."""
    return sorted(node.fields, key=lambda field: field[0])


def test_below(child: Leaf | Fields) -> Test:
    """Return the test of what is at a field: any JSON value, or ``ABSENT``."""
    if isinstance(child, Leaf):
        return child.test()
    test = child.test()
    without_object = child.accepts_absence()
    test_of_array = _test_of_array(child, test, without_object=without_object)

    def accepts(value: object, seen: Seen) -> bool:
        if isinstance(value, dict):
            return test(value, seen)
        return test_of_array(value, seen) if isinstance(value, list) else without_object

    return accepts


def _test_of_array(node: Fields, test: Test, *, without_object: bool) -> Test:
    """Return the test of an array for an object in it, given that of an object and of none."""
    some = _test_of_contents(node, without_object=without_object)

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
                flat = flattened(array)
                return some(flat, seen) if isinstance(flat, Contents) else accepts(flat, seen)
        return none and without_object

    return accepts


def _test_of_contents(node: Fields, *, without_object: bool) -> Callable[[Contents, Seen], bool]:
    test_of_some: TestOfSome | None = None

    def accepts(contents: Contents, seen: Seen) -> bool:
        nonlocal test_of_some
        if without_object and contents.with_empty:
            return True
        if not contents.objects:
            return False
        if test_of_some is None:
            # Not before: each object would compile what is below it twice, and that twice, too.
            test_of_some = node.test_of_some()
        return test_of_some(contents.objects, seen)

    return accepts


def _text(child: Leaf | Fields) -> str:
    return child.text if isinstance(child, Leaf) else child.text()


def names_in(node: Fields) -> Iterator[str]:
    """Yield the fields that a condition names of its object itself, in ``$or`` too."""
    for name, _ in node.fields:
        yield name
    for alternative in node.alternatives:
        yield from names_in(alternative)
