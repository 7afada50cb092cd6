"""A match among very many objects: those of a long array, and those in arrays in them.

Nothing is done for each object that can be done for all. What a column of theirs satisfies is asked
of the different values in it. Only for patterns that ask more of the very object is it then found
which objects those are, and these are sifted by what is asked besides: of themselves, then those
that they are in, and so on up to the array.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from edr.records.pattern.columns import Column, Objects, columns_of, once
from edr.records.pattern.match import Match
from edr.records.pattern.nodes import Access, Condition, Conjunction, FieldNode, Node


class _Level:
    """Objects at one place of a body, in however many arrays.

    Attributes:
        objects: The objects.
        depth: The number of their scope, as in ``Conjunction.others``.
        above: Those that they are in; None if that is a single one.
    """

    __slots__ = ("_column", "_holders", "_without", "above", "depth", "objects")

    def __init__(self, objects: Objects, depth: int) -> None:
        self.objects: Objects = objects
        self.depth: int = depth
        self.above: _Level | None = None
        self._column = Column([], [])  # of those above
        self._without: Objects = []
        self._holders: defaultdict[int, Objects] | None = None

    def below(self, column: Column, without: Objects) -> _Level:
        """Return the level of the objects in a column of this one, but for the empty ones.

        Args:
            column: What this level has at a field.
            without: Those that have no object there, or an empty one, if that is of interest.
        """
        objects = column.contents.objects
        level = _Level([*objects, _EMPTY] if without else objects, self.depth + 1)
        level.above, level._column, level._without = self, column, without
        return level

    def holders_of(self, objects: Objects) -> Objects:
        """Return those of the level above that some objects are in."""
        if self._holders is None:
            self._holders = defaultdict(list)
            inner = self._column.objects
            for holder, value in zip(inner.holders, inner.values, strict=True):
                self._holders[id(value)].append(holder)
            self._holders[id(_EMPTY)] = self._without
        return once([holder for each in objects for holder in self._holders[id(each)]])


_EMPTY: dict[str, Any] = {}
"""What stands for the object of those that have none: its fields are absent."""


def match_many(node: Node, objects: Objects, match: Match) -> None:
    """Look the objects of one array up in the fields below a node."""
    _visit(node, _Level(objects, len(match.scopes)), match)


def _visit(node: Node, level: _Level, match: Match) -> None:
    columns = dict(columns_of(level.objects, node.children))
    for name, column in columns.items():
        if name not in node.absences:
            _visit_field(node.children[name], column, [], level, match)
    for name, field in node.absences.items():
        without = level.objects
        if name in columns:
            without = [each for each in without if name not in each]
        _visit_field(field, columns.get(name) or Column([], []), without, level, match)


def _visit_field(
    field: FieldNode, column: Column, without: Objects, level: _Level, match: Match
) -> None:
    """Look a field up of several objects, and of those without it, if that is asked for."""
    if field.accesses:
        for conjunction, satisfying in _found(field, column, without, match):
            entries = match.entries
            if conjunction.entry not in entries and _holds(conjunction, satisfying, level, match):
                entries[conjunction.entry] = None
    if field.below.children:
        without_object = []
        if field.below.absences:
            without_object = [*without, *column.without_object()]
        below = level.below(column, without_object)
        if below.objects:
            _visit(field.below, below, match)


def _found(
    field: FieldNode, column: Column, without: Objects, match: Match
) -> Iterator[tuple[Conjunction, Objects]]:
    """Yield the undecided conjunctions of what a field satisfies, and the objects that do so."""
    contents = column.contents
    accesses = field.postings.probe_contents(contents) if contents else ()
    undecided = {access: _undecided(access, match) for access in accesses}
    if sum(map(bool, undecided.values())) > _FEW:
        by_access = _by_access(field, column)
    else:
        by_access = {access: access.sift(column) for access, asking in undecided.items() if asking}
    for access, conjunctions in undecided.items():
        for conjunction in conjunctions:
            yield conjunction, by_access[access]
    without_scalar = [*without, *column.without_scalar()] if field.absent else []
    for access in field.absent if without_scalar else ():
        for conjunction in _undecided(access, match):
            yield conjunction, without_scalar


# For so many leaves a column is sifted anew; for more, each value of it is looked up.
_FEW = 8


def _by_access(field: FieldNode, column: Column) -> dict[Access, Objects]:
    found: defaultdict[Access, Objects] = defaultdict(list)
    scalars = column.scalars
    for holder, value in zip(scalars.holders, scalars.values, strict=True):
        for access in field.probes[type(value)](value) or ():
            found[access].append(holder)
    return {access: once(holders) for access, holders in found.items()}


def _undecided(access: Access, match: Match) -> list[Conjunction]:
    """Return those conjunctions of a satisfied access that ask more of the very objects."""
    undecided = []
    for conjunction in access.conjunctions:
        if conjunction.entry in match.entries or not match.holds(conjunction.others):
            continue
        if conjunction.others and conjunction.others[-1][0] >= len(match.scopes):
            undecided.append(conjunction)
        else:
            match.entries[conjunction.entry] = None
    return undecided


def _holds(conjunction: Conjunction, objects: Objects, level: _Level, match: Match) -> bool:
    """Return whether one of several objects satisfies what is asked besides, and those it is in."""
    left = [each for each in conjunction.others if each[0] >= len(match.scopes)]
    while True:
        condition: Condition | None = None
        if left[-1][0] == level.depth:
            _, condition = left.pop()
        if not left:
            assert condition is not None, "each has one at least"
            return condition.test_of_some(objects)
        if condition is not None:
            objects = condition.sift(objects)
        if not objects:
            return False
        objects = level.holders_of(objects)
        assert level.above is not None, "there is a level for each scope that is no single object"
        level = level.above
