"""Many objects at once: what they have at one field is a column, and is asked as one.

An array of 1 MiB may hold a hundred thousand objects, and those arrays of others. To call a
function for each takes ten times as long as to take their column out in one expression, reduce it
to the different values that are in it, and ask these. Which objects a value came from is told only
of the values that are wanted.

Objects are told by their number in the rows, from 0: several of them are ascending numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain, compress
from operator import itemgetter, not_
from typing import Any

from edr.records.pattern.arrays import Contents
from edr.records.pattern.layers import LITERALS, NUMBERS, STRINGS, Hits, Layers
from edr.records.pattern.values import Number

# So many fields are sought in all objects; for more, each object is read.
_FEW = 4


class Rows:
    """Several objects, and the columns of theirs that were asked for.

    Attributes:
        objects: The objects.
    """

    __slots__ = ("_columns", "_names", "objects")

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.objects: list[dict[str, Any]] = objects
        self._columns: dict[str, Column] = {}
        self._names: set[str] | None = None

    def __len__(self) -> int:
        return len(self.objects)

    def some(self, hits: Hits) -> Rows:
        """Return some of the rows, with numbers of their own."""
        return self if len(hits) == len(self) else Rows([*map(self.objects.__getitem__, hits)])

    def column(self, name: str) -> Column:
        """Return what those have at a field that have it."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._column(name)
        return column

    def without(self, name: str) -> Hits:
        """Return the rows that do not have a field."""
        having = self.column(name).rows
        return others(range(len(self)), having) if len(having) < len(self) else ()

    def columns(self, names: Collection[str]) -> Iterator[tuple[str, Column]]:
        """Yield the columns of those of several fields that some object has, with their names."""
        if len(names) > _FEW:
            used = self._names_in_use()
            names = used.intersection(names) if len(names) < len(used) else _both(used, names)
        if len(names) > _FEW:
            self._read(names)
        for name in names:
            column = self.column(name)
            if column.rows:
                yield name, column

    def _column(self, name: str) -> Column:
        objects, value_of = self.objects, itemgetter(name)
        try:
            return Column(range(len(objects)), list(map(value_of, objects)))
        except KeyError:
            if name not in self._names_in_use():
                return Column((), [])
            flags = [name in each for each in objects]
            having = compress(objects, flags)
            return Column(list(compress(range(len(objects)), flags)), list(map(value_of, having)))

    def _names_in_use(self) -> set[str]:
        if self._names is None:
            self._names = set(chain.from_iterable(self.objects))
        return self._names

    def _read(self, names: Collection[str]) -> None:
        """Make columns that are not few: each object is read once, for all of them."""
        columns: dict[str, tuple[list[int], list[Any]]] = {name: ([], []) for name in names}
        for row, each in enumerate(self.objects):
            for name in each:
                if name in columns:
                    rows, values = columns[name]
                    rows.append(row)
                    values.append(each[name])
        self._columns.update((name, Column(*column)) for name, column in columns.items())


def _both(used: set[str], names: Collection[str]) -> list[str]:
    return [each for each in used if each in names]


class Column:
    """What some rows have at a field.

    Attributes:
        rows: The rows.
    """

    __slots__ = ("_contents", "_inner", "_layers", "rows")

    def __init__(self, rows: Hits, values: list[Any]) -> None:
        self.rows: Hits = rows
        self._layers = Layers(values, rows)
        self._contents: Contents | None = None
        self._inner: Rows | None = None

    @property
    def contents(self) -> Contents:
        """All its values, as if they were one array."""
        if self._contents is None:
            self._contents = Contents(self._layers)
        return self._contents

    @property
    def inner(self) -> Rows:
        """The objects among its values, and in arrays there, but for the empty ones."""
        if self._inner is None:
            self._inner = Rows(self.contents.objects)
        return self._inner

    def scalars(self) -> Iterator[tuple[int, Any]]:
        """Yield the scalars among its values, and in arrays there, each with its row."""
        return zip(self._layers.rows_of_scalars(), self._layers.scalars(), strict=True)

    def rows_of(
        self,
        strings: AbstractSet[str],
        numbers: AbstractSet[Number],
        literals: AbstractSet[bool | None],
    ) -> Hits:
        """Return the rows that hold one of several scalars."""
        wanted = {STRINGS: strings, NUMBERS: numbers, LITERALS: literals}
        found: list[int] = []
        for types, accepted in wanted.items():  # True is no 1, though a set takes it for one
            if accepted:
                rows, values = self._layers.rows_of_scalars(types), self._layers.scalars(types)
                found += compress(rows, map(accepted.__contains__, values))
        return ascending(found)

    def rows_of_inner(self, hits: Hits) -> Hits:
        """Return the rows that hold some of the ``inner`` ones."""
        if not hits:
            return ()
        objects, rows = self._layers.objects(), self._layers.rows_of_objects()
        if len(objects) > len(self.inner):
            rows = list(compress(rows, objects))  # without the empty ones
        found = [*map(rows.__getitem__, hits)]
        return ascending(found) if self._layers.has_arrays else found

    def without_scalar(self) -> Hits:
        """Return the rows that hold no scalar."""
        if not self.contents:
            return self.rows
        return others(self.rows, self._layers.rows_with_scalars())

    def without_object(self) -> Hits:
        """Return the rows that hold no object, or an empty one."""
        if not self.contents.objects:
            return self.rows
        objects, rows = self._layers.objects(), self._layers.rows_of_objects()
        without = others(self.rows, rows)
        if len(objects) == len(self.inner):
            return without
        return ascending([*without, *compress(rows, map(not_, objects))])


def ascending(rows: Iterable[int]) -> list[int]:
    """Return rows in their order, each once."""
    return sorted(set(rows))


def others(rows: Hits, some: Collection[int]) -> Hits:
    """Return those of several rows that are not some of them."""
    return sorted(set(rows).difference(some)) if some else rows
