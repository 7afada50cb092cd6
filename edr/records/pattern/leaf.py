"""The leaf of a body pattern: the array at a field, and how it tests what a body has there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from edr.records.pattern.arrays import (
    SHORT,
    VERY_SHORT,
    Contents,
    Seen,
    contents_of,
    different,
)
from edr.records.pattern.values import Values

OR = "$or"
"""The reserved field: an array of objects, one of which must match. No body field of that name
can be asked for."""

Test: TypeAlias = Callable[[Any, Seen], bool]


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

    def __or__(self, other: Leaf) -> Leaf:
        """Return the leaf with the elements of both."""
        return Leaf(
            values=self.values | other.values,
            exceptions=self.exceptions + other.exceptions,
            present=self.present or other.present,
            absent=self.absent or other.absent,
            text=f"{self.text[:-1]}, {other.text[1:]}",
        )

    def test(self) -> Test:  # noqa: C901 - the hot path: a call costs as much as what it calls
        """Return the test of the value of a field: any JSON value, or ``ABSENT``.

        An array stands for its elements, and an array in it for its own: one that matches is
        enough. An object is no value, neither alone nor in an array.
        """
        tests = self.tests_by_type()
        test_of_type = tests.get
        some = self.test_of_contents()
        absent = self.absent

        def accepts(value: object, seen: Seen) -> bool:  # noqa: C901 - as above
            test = test_of_type(type(value))
            if test is not None:
                return test(value)
            if not isinstance(value, list):
                return absent
            size = len(value)
            if size == 1:
                test = test_of_type(type(value[0]))
                if test is not None:
                    return test(value[0])
            elements: Iterable[object] = value
            if size > VERY_SHORT:
                if size > SHORT:
                    return some(contents_of(value, seen))
                elements = different(value)
            empty = True
            for element in elements:
                test = test_of_type(type(element))
                if test is not None:
                    if test(element):
                        return True
                    empty = False
                elif isinstance(element, list):
                    return some(contents_of(value, seen))
            return absent and empty

        return accepts

    def accepts_absence(self) -> bool:
        """Return whether it accepts that no value is there."""
        return self.absent

    def only_names(self) -> bool:
        """Return whether it names each value that it accepts."""
        values = self.values
        only_named = values == Values(
            strings=values.strings, numbers=values.numbers, literals=values.literals
        )
        return only_named and not (self.present or self.absent or self.exceptions)

    def tests_by_type(self) -> dict[type, Callable[[Any], bool]]:
        """Return the tests of scalars, by their type."""
        strings = self._test(Values.test_of_strings)
        numbers = self._test(Values.test_of_numbers)
        literals = self._test(lambda values: values.literals.__contains__)
        return {str: strings, int: numbers, float: numbers, bool: literals, type(None): literals}

    def _test(
        self, of_one_type: Callable[[Values], Callable[[Any], bool]]
    ) -> Callable[[Any], bool]:
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

    def test_of_contents(self) -> Callable[[Contents], bool]:
        """Return the test of an array."""
        absent = self.absent
        if self.present:
            return lambda contents: absent or bool(contents)
        strings = self.values.test_of_some_string()
        numbers = self.values.test_of_some_number()
        literals = self.values.literals
        others = [_test_of_others(each) for each in self.exceptions]

        def accepts(contents: Contents) -> bool:
            if not contents:
                return absent
            return (
                strings(contents.strings)
                or numbers(contents.numbers, contents.in_order)
                or not literals.isdisjoint(contents.literals)
                or any(test(contents) for test in others)
            )

        return accepts


def _test_of_others(excepted: Values) -> Callable[[Contents], bool]:
    """Return the test of whether an array has a scalar that is not excepted."""
    test_of_string = excepted.test_of_strings()
    numbers = excepted.numbers
    only_exact = excepted == Values(strings=excepted.strings, numbers=numbers)

    def accepts(contents: Contents) -> bool:
        if contents.literals or not contents.numbers <= numbers:
            return True
        if only_exact:
            return not contents.strings <= excepted.strings
        return not all(map(test_of_string, contents.strings))

    return accepts


def _all_of(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _always(_: object) -> bool:
    return True
