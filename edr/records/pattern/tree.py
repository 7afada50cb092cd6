"""The tree that a body pattern is: leaves and objects, and how each tests what a body has there.

``Leaf`` and ``Fields`` are data; ``test`` compiles one to a closure, which runs several times as
fast as a walk over the tree. The meaning is told in ``language``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edr.records.pattern.values import Values

OR = "$or"
"""The reserved field: an array of objects, one of which must match. No body field of that name
can be asked for."""


class Absent(Enum):
    """The type of ``ABSENT``. An enum, so that a copied or pickled one is still the same object."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT  # final, so that ``is ABSENT`` narrows a type
"""What stands for the value of a field that is not there."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """The condition on the value of one field: any of its elements.

    Attributes:
        values: What the elements describe that name values.
        exceptions: For each ``anything-but``, what it excepts. A value matches that is outside of
            one of them; two of them are not one of both.
        present: Whether it accepts whatever value is there, as ``{"exists": true}`` asks.
        absent: Whether it accepts that no value is there, as ``{"exists": false}`` asks.
        text: The elements as JSON; equal for equal ones, whatever the spelling of their numbers.
    """

    values: Values
    exceptions: tuple[Values, ...]
    present: bool
    absent: bool
    text: str

    def test(self) -> Callable[[object], bool]:
        """Return the test of the value of a field: any JSON value, or ``ABSENT``.

        An array stands for its elements, and an array in it for its own: one that matches is
        enough. An object is no value, neither alone nor in an array.
        """
        strings = self._test(Values.test_of_strings)
        numbers = self._test(Values.test_of_numbers)
        literals = self._test(lambda values: values.literals.__contains__)
        tests: dict[type, Callable[[object], bool]] = {
            str: strings,
            int: numbers,
            float: numbers,
            bool: literals,
            type(None): literals,
        }
        test_of_type = tests.get
        absent = self.absent

        def accepts(value: object) -> bool:
            test = test_of_type(type(value))
            if test is not None:
                return test(value)
            if not isinstance(value, list):
                return absent
            empty = True
            for element in flat(value):
                test = test_of_type(type(element))
                if test is not None:
                    if test(element):
                        return True
                    empty = False
            return absent and empty

        return accepts

    def _test(
        self, of_one_type: Callable[[Values], Callable[..., bool]]
    ) -> Callable[[object], bool]:
        """Return the test of the values of one type, for which ``of_one_type`` tests a set."""
        if self.present:
            return _always
        accepted = of_one_type(self.values)
        if not self.exceptions:
            return accepted
        excepted = _all_of([of_one_type(values) for values in self.exceptions])
        if self.values == Values():
            return lambda value: not excepted(value)
        return lambda value: accepted(value) or not excepted(value)


@dataclass(frozen=True, slots=True)
class Fields:
    """The condition on one object: all of its fields, and one of its alternatives if it has any.

    Attributes:
        fields: The name of each field with the condition on what is there.
        alternatives: The members of ``$or``; none without it.
    """

    fields: tuple[tuple[str, Leaf | Fields], ...]
    alternatives: tuple[Fields, ...] = ()

    def test(self) -> Callable[[dict[str, object]], bool]:
        """Return the test of an object."""
        # The verdict on nothing is known beforehand, and so common that it is worth no call.
        tests = tuple(
            (name, test, test(ABSENT))
            for name, test in ((name, test_below(child)) for name, child in self.fields)
        )
        alternatives = tuple(each.test() for each in self.alternatives)
        if len(tests) == 1 and not alternatives:
            ((only, test_of_only, without_only),) = tests
            return _test_of_field(only, test_of_only, without=without_only)

        def accepts(body: dict[str, object]) -> bool:
            for name, test, without in tests:
                value = body.get(name, ABSENT)
                if not (without if value is ABSENT else test(value)):
                    return False
            if not alternatives:
                return True
            for alternative in alternatives:  # noqa: SIM110 - a generator takes twice as long
                if alternative(body):
                    return True
            return False

        return accepts

    def text(self) -> str:
        """Return canonical JSON: equal for objects that differ in the order of fields only."""
        members = [f"{json.dumps(name)}:{_text(child)}" for name, child in sorted_fields(self)]
        if self.alternatives:
            alternatives = ",".join(each.text() for each in self.alternatives)
            members.append(f"{json.dumps(OR)}:[{alternatives}]")
        return "{" + ",".join(members) + "}"


def _test_of_field(
    name: str, test: Callable[[object], bool], *, without: bool
) -> Callable[[dict[str, object]], bool]:
    """Return the test of an object for one field, of which nothing else is asked."""

    def accepts(body: dict[str, object]) -> bool:
        value = body.get(name, ABSENT)
        return without if value is ABSENT else test(value)

    return accepts


def sorted_fields(node: Fields) -> list[tuple[str, Leaf | Fields]]:
    """Return the fields of an object pattern in the order of their names."""
    return sorted(node.fields, key=lambda field: field[0])


def test_below(child: Leaf | Fields) -> Callable[[object], bool]:
    """Return the test of what is at a field: any JSON value, or ``ABSENT``."""
    if isinstance(child, Leaf):
        return child.test()
    test = child.test()
    without_object = test({})

    def accepts(value: object) -> bool:
        if isinstance(value, dict):
            return test(value)
        if not isinstance(value, list):
            return without_object
        none = True
        for element in flat(value):
            if isinstance(element, dict):
                # The smallest object takes three bytes of a body, so it must not cost a test.
                if test(element) if element else without_object:
                    return True
                none = False
        return none and without_object

    return accepts


def flat(array: list[object]) -> Iterator[object]:
    """Yield the elements of ``array``, those of an array in it in that array's place."""
    # A stack instead of recursion, which would hand each element up through every level.
    stack = [iter(array)]
    while stack:
        for element in stack[-1]:
            if isinstance(element, list):
                stack.append(iter(element))
                break
            yield element
        else:
            stack.pop()


def _text(child: Leaf | Fields) -> str:
    return child.text if isinstance(child, Leaf) else child.text()


def names_in(node: Fields) -> Iterator[str]:
    """Yield the fields that a condition names of its object itself, in ``$or`` too."""
    for name, _ in node.fields:
        yield name
    for alternative in node.alternatives:
        yield from names_in(alternative)


def _all_of(tests: list[Callable[..., bool]]) -> Callable[..., bool]:
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _always(_: object) -> bool:
    return True
