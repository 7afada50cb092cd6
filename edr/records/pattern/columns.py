"""Many objects at once: what they have at one field is a column, and is asked as one.

An array of 1 MiB may hold a hundred thousand objects, and those arrays of others. To call a
function for each takes ten times as long as to take their column out in one expression, reduce it
to the different values that are in it, and ask these. Which objects a value came from is told only
of the values that are wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, compress, repeat
from operator import itemgetter, not_
from typing import Any, TypeAlias

from edr.records.pattern.arrays import SCALARS, Contents

Objects: TypeAlias = list[dict[str, Any]]

# So many fields are sought in all objects; for more, each object is read.
_FEW = 4


class Column:
    """What some objects have at a field.

    Attributes:
        holders: The objects. One may come several times, with a value each time.
        values: What each has there, in the same order.
    """

    __slots__ = ("_contents", "_split", "holders", "values")

    def __init__(self, holders: Objects, values: list[Any]) -> None:
        self.holders: Objects = holders
        self.values: list[Any] = values
        self._contents: Contents | None = None
        self._split: tuple[Column, Column] | None = None

    @classmethod
    def of(cls, objects: Objects, name: str) -> Column:
        """Return the column of those of several objects that have a field."""
        value_of = itemgetter(name)
        try:
            return cls(objects, list(map(value_of, objects)))
        except KeyError:
            holders = [each for each in objects if name in each]
            return cls(holders, list(map(value_of, holders)))

    @property
    def has_only_scalars(self) -> bool:
        """Whether no value is an object or an array."""
        return SCALARS.issuperset(map(type, self.values))

    @property
    def contents(self) -> Contents:
        """All its values, as if they were one array."""
        if self._contents is None:
            self._contents = Contents(self.values)
        return self._contents

    @property
    def scalars(self) -> Column:
        """Its scalars, those in arrays too, each with its holder."""
        return self if self.has_only_scalars else self._read()[0]

    @property
    def objects(self) -> Column:
        """Its objects, those in arrays too, each with its holder."""
        return Column([], []) if self.has_only_scalars else self._read()[1]

    def without_scalar(self) -> Objects:
        """Return the holders that hold no scalar."""
        return self._without(self.scalars.holders)

    def without_object(self) -> Objects:
        """Return the holders of no object, or of an empty one."""
        objects = self.objects
        filled = list(map(bool, objects.values))
        empty = [] if all(filled) else list(compress(objects.holders, map(not_, filled)))
        return [*self._without(objects.holders), *empty]

    def _without(self, holding: Objects) -> Objects:
        if not holding:
            return self.holders
        ids = set(map(id, holding))
        return [each for each in self.holders if id(each) not in ids]

    def _read(self) -> tuple[Column, Column]:
        if self._split is None:
            self._split = _scalars_and_objects(self)
        return self._split


def _scalars_and_objects(column: Column) -> tuple[Column, Column]:
    scalars, objects = Column([], []), Column([], [])
    while column.values:
        types = list(map(type, column.values))
        kinds = set(types)
        dicts, lists = ({each for each in kinds if issubclass(each, base)} for base in (dict, list))
        for part, found in (
            (scalars, _of_types(kinds - dicts - lists, column, types)),
            (objects, _of_types(dicts, column, types)),
        ):
            part.holders += found.holders
            part.values += found.values
        column = _opened(_of_types(lists, column, types))
    return scalars, objects


def _of_types(wanted: set[type], column: Column, types: list[type]) -> Column:
    """Return what a column has of some types, given those of its values."""
    if not wanted:
        return Column([], [])
    if wanted.issuperset(types):
        return column
    flags = list(map(wanted.__contains__, types))
    return Column(list(compress(column.holders, flags)), list(compress(column.values, flags)))


def _opened(arrays: Column) -> Column:
    """Return what is in the values of a column, all of them arrays, each with its holder."""
    values = list(chain.from_iterable(arrays.values))
    if len(values) == len(arrays.values) and all(arrays.values):
        return Column(arrays.holders, values)  # each has one
    holders = chain.from_iterable(map(repeat, arrays.holders, map(len, arrays.values)))
    return Column(list(holders), values)


def columns_of(objects: Objects, names: Collection[str]) -> Iterator[tuple[str, Column]]:
    """Yield the columns of those of several fields that some object has, with their names."""
    if len(names) > _FEW:
        used = set(chain.from_iterable(objects))
        names = (
            used.intersection(names)
            if len(names) < len(used)
            else [each for each in used if each in names]
        )
    if len(names) <= _FEW:
        for name in names:
            column = Column.of(objects, name)
            if column.holders:
                yield name, column
        return
    holders: Mapping[str, Objects] = {name: [] for name in names}
    for each in objects:
        for name in each:
            if name in holders:
                holders[name].append(each)
    for name, having in holders.items():
        yield name, Column(having, list(map(itemgetter(name), having)))


def once(objects: Objects) -> Objects:
    """Return several objects, each one once."""
    return list(dict(zip(map(id, objects), objects, strict=True)).values())
