"""What is in arrays within arrays, opened layer by layer: all that are equally deep at once.

An array stands for its elements, and an array in it for its own. To open half a million of them by
one expression for each layer takes a third of the time of opening one by one; but where there are
many layers, each array lies elsewhere in memory than the one before it, and then one by one, the
innermost first, takes half of the other.

The values may be a column's (``columns``), each with the number of its row. Which row a value that
was found in an array belongs to is told when it is asked for, which mostly it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress, repeat
from typing import Any, TypeAlias, TypeVar

STRINGS: frozenset[type] = frozenset({str})
NUMBERS: frozenset[type] = frozenset({int, float})
LITERALS: frozenset[type] = frozenset({bool, type(None)})
SCALARS = STRINGS | NUMBERS | LITERALS

Hits: TypeAlias = Sequence[int]
"""The numbers of some rows, ascending."""

T = TypeVar("T")


class Layers:
    """All that is in an array, or in a column."""

    __slots__ = ("_layers",)

    def __init__(self, values: list[Any], rows: Hits = ()) -> None:
        layer = _Layer(values, rows)
        self._layers: list[_Layer] = [layer]
        while layer.lists:
            layer = layer.below(deeply=len(self._layers) > _WIDE)
            self._layers.append(layer)

    @property
    def has_arrays(self) -> bool:
        """Whether there are arrays: else each row has one value, and they are in order."""
        return len(self._layers) > 1

    def scalars(self, types: frozenset[type] = SCALARS) -> Sequence[Any]:
        """Return the scalars of some types."""
        return _joined([each.values_of(types) for each in self._layers if each.has(types)])

    def objects(self) -> Sequence[dict[str, Any]]:
        """Return the objects."""
        return _joined([each.values_of(each.dicts) for each in self._layers if each.dicts])

    def rows_of_scalars(self, types: frozenset[type] = SCALARS) -> Sequence[int]:
        """Return the row of each of these: in any order if there are arrays."""
        return _joined([each.rows_of(types) for each in self._layers if each.has(types)])

    def rows_with_scalars(self) -> Sequence[int]:
        """Return the rows that have a scalar: perhaps several times if there are arrays."""
        return _joined([each.rows_with(SCALARS) for each in self._layers if each.has(SCALARS)])

    def rows_of_objects(self) -> Sequence[int]:
        """Return the row of each object: in any order if there are arrays."""
        return _joined([each.rows_of(each.dicts) for each in self._layers if each.dicts])


# So many layers of arrays are opened as such. What is below is opened one by one, down to what is
# in it; but for longer arrays, and those that are still deeper: these are another layer.
_WIDE = 2
_SHORT = 32
_DEEP = 100


class _Layer:
    """The values, or what is in the arrays of the layer above.

    Attributes:
        dicts: Those types of its values that are types of objects.
        lists: Those that are types of arrays.
    """

    __slots__ = ("_above", "_counts", "_kinds", "_rows", "_types", "_values", "dicts", "lists")

    def __init__(
        self,
        values: list[Any],
        rows: Hits = (),
        above: _Layer | None = None,
        counts: Sequence[int] = (),
    ) -> None:
        self._values: list[Any] = values
        self._rows: Hits = rows
        self._above: _Layer | None = above
        self._counts: Sequence[int] = counts  # of the values that each array above has
        self._types: list[type] = list(map(type, values))
        self._kinds: set[type] = set(self._types)
        composite = self._kinds - SCALARS
        self.dicts: frozenset[type] = frozenset(c for c in composite if issubclass(c, dict))
        self.lists: frozenset[type] = frozenset(c for c in composite if issubclass(c, list))

    def has(self, types: frozenset[type]) -> bool:
        """Return whether it has a value of one of several types."""
        return not self._kinds.isdisjoint(types)

    def below(self, *, deeply: bool) -> _Layer:
        """Return the layer of what is in the arrays; ``deeply`` if in those within them, too."""
        arrays = self.values_of(self.lists)
        values, counts = _opened_deeply(arrays) if deeply else _opened(arrays)
        return _Layer(values, above=self, counts=counts)

    def values_of(self, types: frozenset[type]) -> Sequence[Any]:
        """Return its values of some types."""
        return self._of(types, self._values)

    def rows_of(self, types: frozenset[type]) -> Sequence[int]:
        """Return the row of each value of some types."""
        above = self._above
        if above is not None and not self._rows:
            rows = above.rows_of(above.lists)
            one_in_each = len(rows) == len(self._values) and all(self._counts)
            spread = rows if one_in_each else chain.from_iterable(map(repeat, rows, self._counts))
            self._rows = list(spread)
        return self._of(types, self._rows)

    def rows_with(self, types: frozenset[type]) -> Sequence[int]:
        """Return the rows that have a value of some types."""
        if self._above is not None and self._kinds <= types:
            return list(compress(self._above.rows_of(self._above.lists), self._counts))
        return self.rows_of(types)

    def _of(self, types: frozenset[type], several: Sequence[T]) -> Sequence[T]:
        """Return those of several that are in the places of values of some types."""
        if self._kinds <= types:
            return several
        return list(compress(several, map(types.__contains__, self._types)))


def _opened(arrays: Iterable[list[Any]]) -> tuple[list[Any], list[int]]:
    """Return what is in several arrays, and how much of it in each."""
    return list(chain.from_iterable(arrays)), list(map(len, arrays))


def _opened_deeply(arrays: Iterable[list[Any]]) -> tuple[list[Any], list[int]]:
    """Return what is in several arrays and in those within them, and how much in each."""
    values: list[Any] = []
    counts: list[int] = []
    before = 0
    for each in arrays:
        _open(each, values, _DEEP)
        counts.append(len(values) - before)
        before = len(values)
    return values, counts


def _open(array: list[Any], values: list[Any], deep: int) -> None:
    for each in array:
        if not isinstance(each, list):
            values.append(each)
            continue
        inner = each
        while len(inner) == 1 and isinstance(inner[0], list):
            (inner,) = inner  # the only element of an array is as good as the array
        if deep and len(inner) <= _SHORT:
            _open(inner, values, deep - 1)
        else:
            values.append(inner)


def _joined(several: Sequence[Sequence[T]]) -> Sequence[T]:
    return several[0] if len(several) == 1 else list(chain.from_iterable(several))
