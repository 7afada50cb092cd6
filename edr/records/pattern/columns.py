"""Many objects at once: what they have at one field is a column, and is asked as one.

An array of 1 MiB may hold a hundred thousand objects, and those arrays of others. To call a
function for each takes ten times as long as to take their column out in one expression, reduce it
to the different values that are in it, and ask these. Which objects a value came from is told only
of the values that are wanted.

Objects are told by their number in the rows, from 0: several of them are ascending numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, compress, repeat
from operator import itemgetter, not_
from typing import Any, NamedTuple, TypeAlias

from edr.records.pattern.arrays import Contents, is_wide, of_types, opened_deeply, subclasses
from edr.records.pattern.values import Number

Hits: TypeAlias = Sequence[int]
"""The numbers of some rows, ascending."""

# So many fields are sought in all objects; for more, each object is read.
_FEW = 4


class Rows:
    """Several objects, and the columns of theirs that were asked for.

    Attributes:
        objects: The objects.
    """

    __slots__ = ("_columns", "objects")

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.objects: list[dict[str, Any]] = objects
        self._columns: dict[str, Column] = {}

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

    def columns(self, names: Collection[str]) -> Iterator[tuple[str, Column]]:
        """Yield the columns of those of several fields that some object has, with their names."""
        if len(names) > _FEW:
            used = set(chain.from_iterable(self.objects))
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
            flags = [name in each for each in objects]
            having = compress(objects, flags)
            return Column(list(compress(range(len(objects)), flags)), list(map(value_of, having)))

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


class _Part(NamedTuple):
    """Some of what is in the values of a column, and in arrays there, each with its row.

    Attributes:
        repeats: Whether a row may come several times, and out of its order.
    """

    rows: Hits
    values: Sequence[Any]
    repeats: bool = False


class Column:
    """What some rows have at a field.

    Attributes:
        rows: The rows.
        values: What each has there, in the same order.
    """

    __slots__ = ("_contents", "_inner", "_parts", "rows", "values")

    def __init__(self, rows: Hits, values: list[Any]) -> None:
        self.rows: Hits = rows
        self.values: list[Any] = values
        self._contents: Contents | None = None
        self._inner: Rows | None = None
        self._parts: tuple[_Part, _Part] | None = None

    @property
    def contents(self) -> Contents:
        """All its values, as if they were one array."""
        if self._contents is None:
            self._contents = Contents(self.values)
        return self._contents

    @property
    def inner(self) -> Rows:
        """The objects among its values, and in arrays there, but for the empty ones."""
        if self._inner is None:
            self._inner = Rows(self.contents.objects)
        return self._inner

    def scalars(self) -> Iterator[tuple[int, Any]]:
        """Yield the scalars among its values, and in arrays there, each with its row."""
        part = self._scalars()
        return zip(part.rows, part.values, strict=True)

    def rows_of(
        self,
        strings: AbstractSet[str],
        numbers: AbstractSet[Number],
        literals: AbstractSet[bool | None],
    ) -> Hits:
        """Return the rows that hold one of several scalars."""
        contents = self.contents
        has_booleans = not contents.literals <= _NULL
        if not (strings or numbers or literals):
            return ()
        if has_booleans and contents.numbers:
            rows, values, repeats = self._scalars()
            by_type = {str: strings, int: numbers, float: numbers}
            both = zip(rows, values, strict=True)
            found = [row for row, each in both if each in by_type.get(type(each), literals)]
            return ascending(found) if repeats else found
        # True is no 1 here, but where only one of them can be, it need not be told which.
        wanted = {*strings, *(literals if has_booleans else {*numbers, *(literals & _NULL)})}
        if contents.depth == 1:
            return list(compress(self.rows, map(not_, map(wanted.isdisjoint, self.values))))
        rows, values, repeats = self._scalars()
        found = list(compress(rows, map(wanted.__contains__, values)))
        return ascending(found) if repeats else found

    def rows_of_inner(self, hits: Hits) -> Hits:
        """Return the rows that hold some of the ``inner`` ones."""
        if not hits:
            return ()
        rows, values, repeats = self._objects()
        if len(values) > len(self.inner):
            rows = list(compress(rows, values))  # without the empty ones
        rows = list(map(rows.__getitem__, hits))
        return ascending(rows) if repeats else rows

    def without_scalar(self) -> Hits:
        """Return the rows that hold no scalar."""
        if not self.contents:
            return self.rows
        if self.contents.depth == 1:
            return list(compress(self.rows, map(not_, self.values)))
        return others(self.rows, self._scalars().rows)

    def without_object(self) -> Hits:
        """Return the rows that hold no object, or an empty one."""
        if not self.contents.objects:
            return self.rows
        rows, values, _ = self._objects()
        without = others(self.rows, rows)
        if len(values) == len(self.inner):
            return without
        return ascending([*without, *compress(rows, map(not_, values))])

    def _scalars(self) -> _Part:
        return _Part(self.rows, self.values) if self.contents.depth == 0 else self._read()[0]

    def _objects(self) -> _Part:
        return self._read()[1]

    def _read(self) -> tuple[_Part, _Part]:
        if self._parts is None:
            self._parts = _scalars_and_objects(self.rows, self.values)
        return self._parts


_NULL = frozenset({None})


def _scalars_and_objects(rows: Hits, values: Sequence[Any]) -> tuple[_Part, _Part]:
    """Return what is in a column: the objects as they come in ``Contents.objects``."""
    scalars, objects = _Part([], []), _Part([], [])
    repeats = False
    opened = 0
    while values:
        types = list(map(type, values))
        kinds = set(types)
        dicts, lists = subclasses(kinds, dict), subclasses(kinds, list)
        scalars = _with(scalars, kinds - dicts - lists, rows, values, types, repeats=repeats)
        objects = _with(objects, dicts, rows, values, types, repeats=repeats)
        rows, arrays = of_types(rows, types, lists), of_types(values, types, lists)
        if not is_wide(arrays, opened):
            arrays = [opened_deeply((each,)) for each in arrays]
        opened += 1
        values = list(chain.from_iterable(arrays))
        if len(values) > len(arrays) or not all(arrays):  # not one in each
            rows = list(chain.from_iterable(map(repeat, rows, map(len, arrays))))
            repeats = True
    return scalars, objects


def _with(
    part: _Part,
    wanted: set[type],
    rows: Hits,
    values: Sequence[Any],
    types: list[type],
    *,
    repeats: bool,
) -> _Part:
    """Return a part with what there is besides of some types."""
    if not wanted:
        return part
    rows, values = of_types(rows, types, wanted), of_types(values, types, wanted)
    if not part.rows:
        return _Part(rows, values, repeats)
    return _Part([*part.rows, *rows], [*part.values, *values], repeats=True)


def ascending(rows: Iterable[int]) -> list[int]:
    """Return rows in their order, each once."""
    return sorted(set(rows))


def others(rows: Hits, some: Collection[int]) -> Hits:
    """Return those of several rows that are not some of them."""
    return sorted(set(rows).difference(some))
