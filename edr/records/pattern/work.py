"""What a pattern asks of one value of a body: merged where it can be, counted where it cannot.

A body of 1 MiB has half a million values, and whatever is asked of one of them may be asked of all.
So what counts is not how large a pattern is, but how often it comes back to *one field*: a hundred
fields divide a body among them, a hundred members of one ``$or`` each get all of it.

``merged`` makes one look-up of what members of an ``$or`` ask of the same field alone, which is
how nearly all of them are written. ``work`` counts what is left, by field.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from edr.records.pattern.leaf import Leaf
from edr.records.pattern.tree import Fields

Names: TypeAlias = tuple[str, ...]
"""The names of the fields on the way to a value."""


def merged(node: Fields) -> Fields:
    """Return a condition with the same verdicts that asks each value for less.

    ``{"$or": [{"id": ["a"]}, {"id": ["b"]}]}`` is ``{"id": ["a", "b"]}``: in an array of objects
    too, some object satisfies one of two conditions if it is so for one of them. Members with more
    fields than one stay as they are, as ``a and b, or c and d`` is no single look-up.
    """
    fields = tuple(
        (name, child if isinstance(child, Leaf) else merged(child)) for name, child in node.fields
    )
    alternatives = _merged_members(node.alternatives)
    if len(alternatives) == 1:
        (only,) = alternatives
        return Fields(fields + only.fields, only.alternatives)
    return Fields(fields, alternatives)


def _merged_members(members: Iterable[Fields]) -> tuple[Fields, ...]:
    leaves: dict[str, Leaf] = {}
    objects: dict[str, list[Fields]] = {}
    others: list[Fields] = []
    for member in _flat(members):
        if len(member.fields) != 1 or member.alternatives:
            others.append(member)
            continue
        ((name, child),) = member.fields
        if isinstance(child, Leaf):
            leaves[name] = leaves[name] | child if name in leaves else child
        else:
            objects.setdefault(name, []).append(child)
    return (
        *(Fields(((name, leaf),)) for name, leaf in leaves.items()),
        *(Fields(((name, _one_of(each)),)) for name, each in objects.items()),
        *others,
    )


def _one_of(members: list[Fields]) -> Fields:
    return members[0] if len(members) == 1 else merged(Fields((), tuple(members)))


def _flat(members: Iterable[Fields]) -> Iterator[Fields]:
    for member in map(merged, members):
        if member.fields:
            yield member
        else:
            yield from member.alternatives


def work(node: Fields) -> Mapping[Names, int]:
    """Return how many look-ups a (merged) condition may cost one value, by field."""
    counts: defaultdict[Names, int] = defaultdict(int)
    _count(node, (), counts)
    return counts


def _count(node: Fields, names: Names, counts: defaultdict[Names, int]) -> None:
    if names:  # the body itself is one object, in no array
        counts[names] += 1
    for name, child in node.fields:
        here = (*names, name)
        if not isinstance(child, Leaf):
            _count(child, here, counts)
        elif names:
            counts[here] += work_of_leaf(child)
        else:
            # In a field of the body itself all leaves meet one and the same array, whose values
            # are gathered, and put in order, once.
            counts[here] = max(counts[here], 1) + _scans(child)
    # Members that ask for one field are tested for the fields that an object has, all at once.
    alone = [each for each in node.alternatives if each.asks_one_field()]
    for alternative in node.alternatives:
        _count(alternative, names, counts)
    if names and len(alone) > 1:
        counts[names] -= len(alone) - 1


def work_of_leaf(leaf: Leaf) -> int:
    """Return how many look-ups a leaf may cost one value.

    One for all plain strings, numbers, true, false, null and ``exists``, however many; for
    prefixes and suffixes one for each different length; one more for all that ignore case; for a
    wildcard one, and one for each literal between two ``*`` beyond the first; for blocks of
    addresses one for each length; one for each numeric range; and one for each ``anything-but``,
    with what it excepts.
    """
    ranges = sum(len(each.ranges) for each in (leaf.values, *leaf.exceptions))
    return 1 + _scans(leaf) + ranges


def _scans(leaf: Leaf) -> int:
    """Return how many of the look-ups are no more than one value's."""
    total = 0
    for values in (leaf.values, *leaf.exceptions):
        affixes = (values.prefixes, values.suffixes, values.folded_prefixes, values.folded_suffixes)
        total += sum(len(set(map(len, each))) for each in affixes)
        if values.folded or values.folded_prefixes or values.folded_suffixes:
            total += 1
        total += sum(max(1, len(each.pieces) - 2) for each in values.wildcards)
        if values.blocks:
            total += len({(len(each.first), each.length) for each in values.blocks})
    return total + len(leaf.exceptions)
