"""What an array of a body holds: its scalars once each, and its objects.

An array stands for its elements, and may have half a million. Nearly all of what is asked of one
is *whether any* element is so, and for that each value needs to be looked at once, however often
it comes; and sets of values meet sets of operands at the speed of C. So an array is read once for
a match, by whoever asks first, and remembered for the others (``Seen``).
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, compress
from typing import Any, TypeAlias, TypeVar

from edr.records.pattern.values import Number

SHORT = 32
"""Up to so many elements are looked at one by one, which takes less time than to sort them."""

VERY_SHORT = 4
"""Up to so many, equal ones too."""


T = TypeVar("T")


class Contents:
    """The elements of an array, those of arrays in it too.

    Attributes:
        strings: Its strings, in their order: those next to each other in an array mostly are so in
            memory too, and to go over 174,000 in another order takes three times as long.
        numbers: Its numbers; equal ones are one, whatever their type.
        literals: Those of true, false and null that it has.
        objects: Its objects, but for the empty ones.
        with_empty: Whether it has an empty object, or no object.
        depth: 0 if it is known to have nothing but scalars, 1 if nothing but arrays of them; None
            otherwise.
    """

    __slots__ = ("_ordered", "depth", "literals", "numbers", "objects", "strings", "with_empty")

    def __init__(self, array: list[object]) -> None:
        self.strings: KeysView[str] = _NO_STRINGS
        self.numbers: AbstractSet[Number] = _NONE
        self.literals: AbstractSet[bool | None] = _NONE
        self.objects: list[dict[str, Any]] = []
        self.with_empty: bool = False
        self.depth: int | None = 0
        self._ordered: list[Number] | None = None
        level: list[Any] = array
        opened = 0
        while level:
            types = list(map(type, level))
            kinds = set(types)
            if kinds <= SCALARS:
                self._add_scalars(level, kinds)
                break
            self._add_objects(of_types(level, types, subclasses(kinds, dict)))
            scalars = kinds.intersection(SCALARS)
            if scalars:
                self._add_scalars(of_types(level, types, scalars), scalars)
            arrays = of_types(level, types, subclasses(kinds, list))
            in_one_step = is_wide(arrays, opened)
            only_scalars_in_arrays = not opened and in_one_step and len(arrays) == len(level)
            self.depth = 1 if only_scalars_in_arrays else None
            level = list(chain.from_iterable(arrays)) if in_one_step else opened_deeply(arrays)
            opened += 1
        self.with_empty = self.with_empty or not self.objects

    def __bool__(self) -> bool:
        """Return whether there is any scalar."""
        return bool(self.strings or self.numbers or self.literals)

    def in_order(self) -> list[Number]:
        """Return the numbers, the least first."""
        if self._ordered is None:
            self._ordered = sorted(self.numbers)
        return self._ordered

    def _add_scalars(self, scalars: Sequence[Any], kinds: set[type]) -> None:
        if bool in kinds:
            # True is 1 in a dict, so one would hide the other.
            self.literals |= {each for each in scalars if each is True or each is False}
            scalars = [each for each in scalars if each is not True and each is not False]
        found = dict.fromkeys(scalars)
        if None in found:
            del found[None]
            self.literals |= {None}
        if kinds.isdisjoint(_NUMBERS):
            strings = found
        elif str not in kinds:
            strings = {}
            self.numbers |= found.keys()
        else:
            strings = {each: None for each in found if type(each) is str}
            self.numbers |= found.keys() - strings.keys()
        if strings:
            self.strings = (
                (dict.fromkeys(self.strings) | strings).keys() if self.strings else strings.keys()
            )

    def _add_objects(self, objects: Sequence[dict[str, Any]]) -> None:
        filled = list(filter(None, objects))
        self.with_empty = self.with_empty or len(filled) < len(objects)
        self.objects += filled


def subclasses(kinds: set[type], base: type) -> set[type]:
    """Return those of several types that are of one kind."""
    return {each for each in kinds if issubclass(each, base)}


def of_types(values: Sequence[T], types: list[type], wanted: set[type]) -> Sequence[T]:
    """Return what is in the places of values of some types, given the types of all."""
    if not wanted or wanted.issuperset(types):
        return values if wanted else []
    return list(compress(values, map(wanted.__contains__, types)))


Seen: TypeAlias = dict[int, Contents]
"""The contents of the arrays that were looked at in one match, by identity."""

SCALARS = frozenset({str, int, float, bool, type(None)})
_NUMBERS = frozenset({int, float})
_NO_STRINGS: KeysView[str] = {}.keys()
_NONE: frozenset[Any] = frozenset()


def different(array: list[Any]) -> Iterable[Any]:
    """Return the elements of a short array, equal ones once if no two of them could be confused."""
    kinds = set(map(type, array))
    return set(array) if bool not in kinds and kinds <= SCALARS else array


# Arrays in arrays in arrays are opened one by one, down to what is in them, since there are few.
_DEEP = 2


def is_wide(arrays: Sequence[list[Any]], opened: int) -> bool:
    """Return whether several arrays are best opened all at once, after so many that they are in."""
    return len(arrays) > SHORT and opened < _DEEP


def opened_deeply(arrays: Iterable[list[Any]]) -> list[Any]:
    """Return what is in several arrays and in the short arrays within them, in its order."""
    values: list[Any] = []
    for each in arrays:
        _open(each, values)
    return values


def _open(array: list[Any], values: list[Any]) -> None:
    for each in array:
        if isinstance(each, list) and len(each) <= SHORT:
            _open(each, values)
        else:
            values.append(each)


def contents_of(array: list[object], seen: Seen) -> Contents:
    """Return the contents of an array."""
    contents = seen.get(id(array))
    if contents is None:
        contents = seen[id(array)] = Contents(array)
    return contents
