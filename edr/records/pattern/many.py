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

from edr.records.pattern.columns import Column, Rows, ascending
from edr.records.pattern.layers import Hits
from edr.records.pattern.match import Match
from edr.records.pattern.nodes import Access, Condition, Conjunction, FieldNode, Node


class _Level:
    """Objects at one place of a body, in however many arrays.

    Attributes:
        rows: The objects.
        depth: The number of their scope, as in ``Conjunction.others``.
        above: Those that they are in; None if that is a single one.
    """

    __slots__ = ("_column", "_satisfying", "_without", "above", "depth", "rows")

    def __init__(self, rows: Rows, depth: int) -> None:
        self.rows: Rows = rows
        self.depth: int = depth
        self.above: _Level | None = None
        self._column = Column((), [])  # of those above
        self._without: Hits = ()
        self._satisfying: dict[Condition, Hits] = {}

    def below(self, column: Column, without: Hits) -> _Level:
        """Return the level of the objects in a column of this one, but for the empty ones.

        Args:
            column: What this level has at a field.
            without: Those that have no object there, or an empty one, if that is of interest.
        """
        # An empty object stands for all that these do not have: it is the last one.
        rows = Rows([*column.inner.objects, {}]) if without else column.inner
        level = _Level(rows, self.depth + 1)
        level.above, level._column, level._without = self, column, without
        return level

    def sift(self, condition: Condition, hits: Hits) -> Hits:
        """Return those of some rows that satisfy a condition."""
        if len(hits) < len(self.rows):
            return condition.sift(self.rows, hits)
        satisfying = self._satisfying.get(condition)  # many ask the same of all
        if satisfying is None:
            satisfying = self._satisfying[condition] = condition.sift(self.rows, hits)
        return satisfying

    def holders_of(self, hits: Hits) -> Hits:
        """Return those rows of the level above that some of these are in."""
        last = len(self._column.inner)
        if hits[-1] < last:
            return self._column.rows_of_inner(hits)
        return ascending([*self._column.rows_of_inner(hits[:-1]), *self._without])


def match_many(node: Node, objects: list[dict[str, Any]], match: Match) -> None:
    """Look the objects of one array up in the fields below a node."""
    _visit(node, _Level(Rows(objects), len(match.scopes)), match)


def _visit(node: Node, level: _Level, match: Match) -> None:
    columns = dict(level.rows.columns(node.children))
    for name, column in columns.items():
        if name not in node.absences:
            _visit_field(node.children[name], column, (), level, match)
    rows = level.rows
    for name, field in node.absences.items():
        _visit_field(field, rows.column(name), rows.without(name), level, match)


def _visit_field(
    field: FieldNode, column: Column, without: Hits, level: _Level, match: Match
) -> None:
    """Look a field up of several objects, and of those without it, if that is asked for."""
    if field.accesses:
        entries = match.entries
        for conjunction, hits in _found(field, column, without, match):
            if conjunction.entry not in entries and _holds(conjunction, hits, level, match):
                entries[conjunction.entry] = None
    if field.below.children:
        without_object: Hits = ()
        if field.below.absences:
            without_object = ascending([*without, *column.without_object()])
        below = level.below(column, without_object)
        if below.rows:
            _visit(field.below, below, match)


def _found(
    field: FieldNode, column: Column, without: Hits, match: Match
) -> Iterator[tuple[Conjunction, Hits]]:
    """Yield the undecided conjunctions of what a field satisfies, and the rows that do so."""
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
    without_scalar = ascending([*without, *column.without_scalar()]) if field.absent else ()
    for access in field.absent if without_scalar else ():
        for conjunction in _undecided(access, match):
            yield conjunction, without_scalar


# For so many leaves a column is sifted anew; for more, each value of it is looked up.
_FEW = 8


def _by_access(field: FieldNode, column: Column) -> dict[Access, Hits]:
    found: defaultdict[Access, list[int]] = defaultdict(list)
    for row, value in column.scalars():
        for access in field.probes[type(value)](value) or ():
            found[access].append(row)
    return {access: ascending(rows) for access, rows in found.items()}


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


def _holds(conjunction: Conjunction, hits: Hits, level: _Level, match: Match) -> bool:
    """Return whether one of some rows satisfies what is asked besides, and those that it is in."""
    left = [each for each in conjunction.others if each[0] >= len(match.scopes)]
    while True:
        if left[-1][0] == level.depth:
            _, condition = left.pop()
            hits = level.sift(condition, hits)
        if not hits or not left:
            return bool(hits)
        hits = level.holders_of(hits)
        assert level.above is not None, "there is a level for each scope that is no single object"
        level = level.above
