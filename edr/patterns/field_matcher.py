"""The leaf of a body pattern: the array at a field, and how it tests what a body has there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from edr.patterns.arrays import has_scalar
from edr.patterns.scalar_set import ScalarSet

OR = "$or"
"""The reserved field: an array of objects, one of which must match. No body field of that name
can be asked for."""

Test: TypeAlias = Callable[[Any], bool]


class Absent(Enum):
    """The type of ``ABSENT``. An enum, so that a copied or pickled one is still the same object."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT  # final, so that ``is ABSENT`` narrows a type
"""The value of an absent field."""


@dataclass(frozen=True, slots=True)
class FieldMatcher:
    """The condition on the value of one field: any of its elements.

    Attributes:
        values: The set of values that the elements describe, other than exceptions.
        exceptions: The excluded set of each ``anything-but``. A value matches if it is outside
            of one of them; two exceptions are not merged into one.
        present: Whether it accepts whatever value is there, as ``{"exists": true}`` asks.
        absent: Whether it accepts that no value is there, as ``{"exists": false}`` asks.
        text: The elements as JSON; equal for equal ones, whatever the spelling of their numbers.
    """

    values: ScalarSet
    exceptions: tuple[ScalarSet, ...]
    present: bool
    absent: bool
    text: str

    def __or__(self, other: FieldMatcher) -> FieldMatcher:
        """Return the leaf with the elements of both."""
        return FieldMatcher(
            values=self.values | other.values,
            exceptions=self.exceptions + other.exceptions,
            present=self.present or other.present,
            absent=self.absent or other.absent,
            text=f"{self.text[:-1]}, {other.text[1:]}",
        )

    def test(self) -> Test:
        """Return the test of the value of a field: any JSON value, or ``ABSENT``.

        An array stands for its elements, and an array in it for its own: one that matches is
        enough. An object is not a value, neither alone nor in an array.
        """
        test_of_type = self.tests_by_type().get
        absent = self.absent

        def accepts(value: object) -> bool:
            test = test_of_type(type(value))
            if test is not None:
                return test(value)
            if isinstance(value, list):
                return accepts_some(value) or (absent and not has_scalar(value))
            return absent

        def accepts_some(array: list[object]) -> bool:
            for element in array:
                test = test_of_type(type(element))
                if test is not None:
                    if test(element):
                        return True
                elif isinstance(element, list) and accepts_some(element):
                    return True
            return False

        return accepts

    def accepts_absence(self) -> bool:
        """Return whether it accepts that no value is there."""
        return self.absent

    def only_names(self) -> bool:
        """Return whether it names each value that it accepts."""
        values = self.values
        only_named = values == ScalarSet(
            strings=values.strings, numbers=values.numbers, literals=values.literals
        )
        return only_named and not (self.present or self.absent or self.exceptions)

    def tests_by_type(self) -> dict[type, Callable[[Any], bool]]:
        """Return the tests of scalars, by their type."""
        strings = self._test(ScalarSet.test_of_strings)
        numbers = self._test(ScalarSet.test_of_numbers)
        literals = self._test(lambda values: values.literals.__contains__)
        return {str: strings, int: numbers, float: numbers, bool: literals, type(None): literals}

    def _test(
        self, of_one_type: Callable[[ScalarSet], Callable[[Any], bool]]
    ) -> Callable[[Any], bool]:
        """Return the test of the values of one type, for which ``of_one_type`` tests a set."""
        if self.present:
            return _always
        accepted = of_one_type(self.values)
        if not self.exceptions:
            return accepted
        excepted = _all_of([of_one_type(values) for values in self.exceptions])
        if self.values == ScalarSet():
            return lambda value: not excepted(value)
        return lambda value: accepted(value) or not excepted(value)


def _all_of(tests: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    if len(tests) == 1:
        return tests[0]
    in_order = tuple(tests)

    def accepts(value: object) -> bool:
        for test in in_order:  # noqa: SIM110 - a generator would take twice as long
            if not test(value):
                return False
        return True

    return accepts


def _always(_: object) -> bool:
    return True
