"""How an access predicate is chosen when a pattern is added."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from edr.patterns.field_matcher import FieldMatcher
from edr.patterns.nodes import FieldNode, Node
from edr.patterns.object_pattern import ObjectPattern
from edr.patterns.postings import is_broad


class Cost(NamedTuple):
    """The expected cost of an access predicate; the lowest is chosen.

    Attributes:
        selectivity: 0 for a leaf that names values, 1 for a leaf that nearly every value matches,
            2 for a leaf that an absent value matches. It counts more than the length of the posting
            list: few events have a given ``type``, but nearly all match an ``anything-but``.
        size: Approximate number of patterns in its posting lists.
        breadth: For lists of equal length, lower for a kind that fewer bodies match.
    """

    selectivity: int
    size: int
    breadth: int


class AccessPlan(NamedTuple):
    """A planned access predicate: its path, its leaf, and the other conditions by scope."""

    path: tuple[str, ...]
    leaf: FieldMatcher
    others: tuple[tuple[int, ObjectPattern], ...]


class Plan(NamedTuple):
    """The access predicates of a pattern: one, or one for each member of an ``$or``."""

    cost: Cost
    accesses: list[AccessPlan]


_NOWHERE = Node()


Population: TypeAlias = Callable[[ObjectPattern], int]
"""Number of patterns with a given condition on the body that is not their access predicate."""


def plan(fields: ObjectPattern, node: Node, population: Population, depth: int = 0) -> Plan:
    """Return the cheapest access predicates for an object pattern that is at ``node``.

    The assumed length of a posting list is the number of all patterns that have its leaf, not only
    of the patterns stored there. Otherwise patterns of one ``type`` would be stored under it as
    soon as the list of their thresholds is as long, and each event would then find half of them.
    """
    plans = [_plan_of_field(name, child, node, depth) for name, child in fields.fields]
    conditions = [ObjectPattern((field,)) for field in fields.fields]
    if not depth:
        plans = [
            each._replace(cost=each.cost._replace(size=each.cost.size + population(condition)))
            for each, condition in zip(plans, conditions, strict=True)
        ]
    if fields.alternatives:
        plans.append(_plan_of_alternatives(fields.alternatives, node, depth))
        conditions.append(ObjectPattern((), fields.alternatives))
    best = min(range(len(plans)), key=lambda position: plans[position].cost)
    others = [each for at, each in enumerate(conditions) if at != best]
    if not others:
        return plans[best]
    return Plan(
        plans[best].cost,
        [each._replace(others=_with(each.others, depth, others)) for each in plans[best].accesses],
    )


def _with(
    below: tuple[tuple[int, ObjectPattern], ...], depth: int, others: list[ObjectPattern]
) -> tuple[tuple[int, ObjectPattern], ...]:
    """Return the conditions of an access, those of a further object added, outermost first.

    A condition on the body itself is tested once for an event, so its parts are kept apart to be
    shared with other patterns. The conditions on an object in an array are joined into one.
    """
    if not depth:
        return (*((0, each) for each in others), *below)
    if below and below[0][0] == depth:
        others = [*others, below[0][1]]
        below = below[1:]
    fields = tuple(field for each in others for field in each.fields)
    alternatives = [each.alternatives for each in others if each.alternatives]
    assert len(alternatives) <= 1, "an $or that holds the access is not among the other conditions"
    return ((depth, ObjectPattern(fields, alternatives[0] if alternatives else ())), *below)


def _plan_of_field(name: str, child: FieldMatcher | ObjectPattern, node: Node, depth: int) -> Plan:
    field = node.children.get(name)
    if isinstance(child, FieldMatcher):
        return Plan(_cost(child, field), [AccessPlan((name,), child, ())])
    below = plan(child, _NOWHERE if field is None else field.below, _unknown, depth + 1)
    return Plan(below.cost, [each._replace(path=(name, *each.path)) for each in below.accesses])


def _plan_of_alternatives(alternatives: Iterable[ObjectPattern], node: Node, depth: int) -> Plan:
    plans = [plan(each, node, _unknown, depth) for each in alternatives]
    cost = Cost(
        selectivity=max(each.cost.selectivity for each in plans),
        size=sum(each.cost.size for each in plans),
        breadth=max(each.cost.breadth for each in plans),
    )
    return Plan(cost, [access for each in plans for access in each.accesses])


def _unknown(_: ObjectPattern) -> int:
    return 0


def _cost(leaf: FieldMatcher, field: FieldNode | None) -> Cost:
    selectivity = 2 if leaf.absent else 1 if is_broad(leaf) else 0
    size = 0 if field is None else field.postings.size(leaf)
    values = leaf.values
    breadth = 0
    if values.literals or any(None in (each.lower, each.upper) for each in values.ranges):
        breadth = 2
    elif not (values.strings or values.numbers or values.folded):
        breadth = 1
    return Cost(selectivity, size, breadth)
