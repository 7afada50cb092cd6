"""How a condition is tested of very many objects: they are sifted field by field.

It means what the test of one object means (``objects``), and takes a fifth to a tenth of the time.

Invariant: a sieve takes time linear in the objects it is given and in what they hold, for each
look-up that ``work`` counts. So it returns no row twice, and a field that may be absent costs those
objects that have it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

from edr.records.pattern.columns import Column, Rows, ascending, others
from edr.records.pattern.layers import Hits
from edr.records.pattern.leaf import Leaf
from edr.records.pattern.tree import Fields, dearness

Sieve: TypeAlias = Callable[[Rows], Hits]
"""Returns those of several rows that satisfy a condition."""

TestOfObjects: TypeAlias = Callable[[list[dict[str, Any]]], bool]

ColumnSieve: TypeAlias = Callable[[Column], Hits]
"""Returns the rows of a column that hold what satisfies a condition."""


def sieve_of(node: Fields) -> Sieve:
    """Return the sieve of a condition on an object."""
    required = [
        (name, column_sieve_of(child))
        # What takes the least time goes first: most objects are gone before the others.
        for name, child in sorted(node.fields, key=dearness)
        if not child.accepts_absence()
    ]
    optional = _by_name([each for each in node.fields if each[1].accepts_absence()])
    alone, members = node.alternatives_by_field()
    one_field = _by_name([(name, child) for name, each in alone.items() for child in each])
    alternatives = [sieve_of(each) for each in members]

    def sift(rows: Rows) -> Hits:
        if not rows:
            return ()
        at: Hits = range(len(rows))
        for name, sieve in required:
            hits = sieve(rows.column(name))
            if not hits:
                return ()
            rows, at = rows.some(hits), _of(at, hits)
        if optional:
            hits = _without_refused(rows, optional)
            if not hits:
                return ()
            rows, at = rows.some(hits), _of(at, hits)
        if not (one_field or alternatives):
            return at
        accepted = {
            row
            for name, column in rows.columns(one_field)
            for sieve in one_field[name]
            for row in sieve(column)
        }
        accepted.update(*(alternative(rows) for alternative in alternatives))
        return _of(at, sorted(accepted))

    return sift


def within(sieve: Sieve, rows: Rows, hits: Hits) -> Hits:
    """Return those of some rows that satisfy the condition of a sieve."""
    return _of(hits, sieve(rows.some(hits)))


def _of(rows: Hits, numbers: Hits) -> Hits:
    """Return the rows that have some numbers among several."""
    return rows if len(numbers) == len(rows) else list(map(rows.__getitem__, numbers))


def test_of_some_by(sieve: Sieve) -> TestOfObjects:
    """Return the test of whether one of several objects satisfies the condition of a sieve.

    They are sifted in parts: where the first of very many is one, the others are spared.
    """

    def accepts(objects: list[dict[str, Any]]) -> bool:
        if len(objects) <= _PART:
            return bool(sieve(Rows(objects)))
        parts = range(0, len(objects), _PART)
        return any(sieve(Rows(objects[at : at + _PART])) for at in parts)

    return accepts


_PART = 1_024


def column_sieve_of(child: Leaf | Fields) -> ColumnSieve:
    """Return the sieve of what is at a field, for the objects that have the field."""
    return _sieve_of_leaf(child) if isinstance(child, Leaf) else _sieve_of_objects(child)


def _sieve_of_leaf(leaf: Leaf) -> ColumnSieve:
    tests = leaf.tests_by_type()
    test_of_some = leaf.test_of_contents()

    def sift(column: Column) -> Hits:
        contents = column.contents
        found: Hits = ()
        if contents and (leaf.absent or test_of_some(contents)):
            found = column.rows_of(
                set(filter(tests[str], contents.strings)),
                set(filter(tests[int], contents.numbers)),
                set(filter(tests[bool], contents.literals)),
            )
        return _either(found, column.without_scalar()) if leaf.absent else found

    return sift


def _sieve_of_objects(node: Fields) -> ColumnSieve:
    sieve = sieve_of(node)
    without_object = node.accepts_absence()

    def sift(column: Column) -> Hits:
        found = column.rows_of_inner(sieve(column.inner))
        return _either(found, column.without_object()) if without_object else found

    return sift


def _either(found: Hits, more: Hits) -> Hits:
    return ascending([*found, *more]) if found and more else found or more


def _without_refused(rows: Rows, optional: dict[str, list[ColumnSieve]]) -> Hits:
    """Return the rows of which no field, where it is there, is refused."""
    refused: set[int] = set()
    for name, column in rows.columns(optional):
        for sieve in optional[name]:
            accepted = sieve(column)
            if len(accepted) < len(column.rows):
                refused.update(others(column.rows, accepted))
                if len(refused) == len(rows):
                    return ()
    return others(range(len(rows)), refused)


def _by_name(fields: list[tuple[str, Leaf | Fields]]) -> dict[str, list[ColumnSieve]]:
    """Return sieves by the name of their field, which may come twice."""
    by_name: defaultdict[str, list[ColumnSieve]] = defaultdict(list)
    for name, child in fields:
        by_name[name].append(column_sieve_of(child))
    return dict(by_name)
