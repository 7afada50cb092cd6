"""The cost of a pattern for one value of a body: ``merged`` reduces it, ``work`` counts it.

A body of 256 KiB has a hundred thousand values, and a condition may be tested for all of them. So
the size of a pattern does not matter. The number of conditions on *one field* does: a hundred
fields share the values of a body, but each of a hundred members of one ``$or`` is tested on all of
them.

``merged`` joins the members of an ``$or`` that test a single, equal field into one look-up. Nearly
all members are written that way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil
from typing import TypeAlias

from edr.patterns.field_matcher import FieldMatcher
from edr.patterns.object_pattern import ObjectPattern
from edr.patterns.scalar_set import ScalarSet

Names: TypeAlias = tuple[str, ...]
"""The names of the fields on the way to a value."""


def merged(node: ObjectPattern) -> ObjectPattern:
    """Return an equivalent condition with a lower cost.

    ``{"$or": [{"id": ["a"]}, {"id": ["b"]}]}`` is ``{"id": ["a", "b"]}``: in an array of objects
    too, some object satisfies one of two conditions if it is so for one of them. Members with more
    fields than one stay as they are, because ``a and b, or c and d`` is not a single look-up.
    """
    fields = tuple(
        (name, child if isinstance(child, FieldMatcher) else merged(child))
        for name, child in node.fields
    )
    alternatives = _merged_members(node.alternatives)
    if len(alternatives) == 1:
        (only,) = alternatives
        return ObjectPattern(fields + only.fields, only.alternatives)
    return ObjectPattern(fields, alternatives)


def _merged_members(members: Iterable[ObjectPattern]) -> tuple[ObjectPattern, ...]:
    leaves: dict[str, FieldMatcher] = {}
    objects: dict[str, list[ObjectPattern]] = {}
    others: list[ObjectPattern] = []
    for member in _flat(members):
        if len(member.fields) != 1 or member.alternatives:
            others.append(member)
            continue
        ((name, child),) = member.fields
        if isinstance(child, FieldMatcher):
            leaves[name] = leaves[name] | child if name in leaves else child
        else:
            objects.setdefault(name, []).append(child)
    return (
        *(ObjectPattern(((name, leaf),)) for name, leaf in leaves.items()),
        *(ObjectPattern(((name, _one_of(each)),)) for name, each in objects.items()),
        *others,
    )


def _one_of(members: list[ObjectPattern]) -> ObjectPattern:
    return members[0] if len(members) == 1 else merged(ObjectPattern((), tuple(members)))


def _flat(members: Iterable[ObjectPattern]) -> Iterator[ObjectPattern]:
    for member in map(merged, members):
        if member.fields:
            yield member
        else:
            yield from member.alternatives


def work(node: ObjectPattern) -> dict[Names, int]:
    """Return the cost of a (merged) condition for one value or object, by field.

    A unit is about what three exact look-ups take, so that two of them take at most 100 ms for the
    worst body of 256 KiB. It was measured with ``benchmarks/questions/hostile.py``.
    """
    asked: defaultdict[Names, list[FieldMatcher | ObjectPattern]] = defaultdict(list)
    _collect(node, (), asked)
    return {names: _cost(conditions) for names, conditions in asked.items()}


def _collect(
    node: ObjectPattern, names: Names, asked: defaultdict[Names, list[FieldMatcher | ObjectPattern]]
) -> None:
    """Add the conditions on each field of an object, and on the object by members of ``$or``."""
    for name, child in node.fields:
        here = (*names, name)
        asked[here].append(child)
        if isinstance(child, ObjectPattern):
            _collect(child, here, asked)
    for alternative in node.alternatives:
        # Members with a single field cost one look-up together. The body itself is one object.
        if names and not alternative.asks_one_field():
            asked[names].append(alternative)
        _collect(alternative, names, asked)


def _cost(conditions: list[FieldMatcher | ObjectPattern]) -> int:
    affixes = wildcards = ranges = blocks = exceptions = 0
    for each in conditions:
        if not isinstance(each, FieldMatcher):
            continue
        # One anything-but is looked up; of several in one leaf each is tested.
        exceptions += max(0, len(each.exceptions) - 1)
        for values in (each.values, *each.exceptions):
            affixes += _affix_lengths(values)
            wildcards += len(values.wildcards)
            ranges += len(values.ranges)
            if values.blocks:
                blocks += ceil(_block_lengths(values) / 3)
    groups = ceil(len(conditions) / 3) + ceil(wildcards / 3) + ceil(ranges / 3)
    return groups + ceil(affixes / 8) + blocks + 2 * exceptions


def _affix_lengths(values: ScalarSet) -> int:
    affixes = (values.prefixes, values.suffixes, values.folded_prefixes, values.folded_suffixes)
    return sum([len(set(map(len, each))) for each in affixes if each])


def _block_lengths(values: ScalarSet) -> int:
    lengths: defaultdict[int, set[int]] = defaultdict(set)  # an address is of one family
    for block in values.blocks:
        lengths[len(block.first)].add(block.length)
    return max(map(len, lengths.values()), default=0)
