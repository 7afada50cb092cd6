"""What an array of a body holds: its scalars once each, and its objects.

An array stands for its elements, and may have half a million. Nearly all of what is asked of one
is *whether any* element is so, and for that each value needs to be looked at once, however often
it comes; and sets of values meet sets of operands at the speed of C. So an array is read once for
a match, by whoever asks first, and remembered for the others (``Seen``).
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from edr.records.pattern.layers import LITERALS, NUMBERS, SCALARS, STRINGS, Layers
from edr.records.pattern.values import Number

SHORT = 32
"""Up to so many elements are looked at one by one, which takes less time than to sort them."""

VERY_SHORT = 4
"""Up to so many, equal ones too."""


class Contents:
    """The elements of an array, those of arrays in it too.

    Attributes:
        strings: Its strings, in their order: those next to each other in an array mostly are so in
            memory too, and to go over 174,000 in another order takes three times as long.
        numbers: Its numbers; equal ones are one, whatever their type.
        literals: Those of true, false and null that it has.
        objects: Its objects, but for the empty ones.
        with_empty: Whether it has an empty object, or no object.
    """

    __slots__ = ("_ordered", "literals", "numbers", "objects", "strings", "with_empty")

    def __init__(self, layers: Layers) -> None:
        self.strings: KeysView[str] = dict.fromkeys(layers.scalars(STRINGS)).keys()
        self.numbers: AbstractSet[Number] = set(layers.scalars(NUMBERS))
        self.literals: AbstractSet[bool | None] = set(layers.scalars(LITERALS))
        objects = layers.objects()
        self.objects: list[dict[str, Any]] = list(filter(None, objects))
        self.with_empty: bool = len(self.objects) < len(objects) or not objects
        self._ordered: list[Number] | None = None

    def __bool__(self) -> bool:
        """Return whether there is any scalar."""
        return bool(self.strings or self.numbers or self.literals)

    def in_order(self) -> list[Number]:
        """Return the numbers, the least first."""
        if self._ordered is None:
            self._ordered = sorted(self.numbers)
        return self._ordered


Seen: TypeAlias = dict[int, Contents]
"""The contents of the arrays that were looked at in one match, by identity."""


def different(array: list[Any]) -> Iterable[Any]:
    """Return the elements of a short array, equal ones once if no two of them could be confused."""
    kinds = set(map(type, array))
    return set(array) if bool not in kinds and kinds <= SCALARS else array


def contents_of(array: list[object], seen: Seen) -> Contents:
    """Return the contents of an array."""
    contents = seen.get(id(array))
    if contents is None:
        contents = seen[id(array)] = Contents(Layers(array))
    return contents
