"""The tree that a body pattern is: objects and leaves. The meaning is told in ``language``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from operator import itemgetter

from edr.patterns.field_matcher import OR, FieldMatcher


@dataclass(frozen=True, slots=True)
class ObjectPattern:
    """The condition on one object: all of its fields, and one of its alternatives if it has any.

    Attributes:
        fields: The name of each field with the condition on what is there.
        alternatives: The members of ``$or``; none without it.
        combinations: How many plain conjunctions it is, unfolded.
    """

    fields: tuple[tuple[str, FieldMatcher | ObjectPattern], ...]
    alternatives: tuple[ObjectPattern, ...] = ()
    combinations: int = field(init=False, compare=False, repr=False)
    _accepts_absence: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Asked of each object that this is in: to go down to the leaves each time is quadratic.
        below = prod(
            child.combinations for _, child in self.fields if isinstance(child, ObjectPattern)
        )
        members = sum(each.combinations for each in self.alternatives)
        object.__setattr__(self, "combinations", below * (members or 1))
        accepts_absence = all(child.accepts_absence() for _, child in self.fields) and (
            not self.alternatives or any(each.accepts_absence() for each in self.alternatives)
        )
        object.__setattr__(self, "_accepts_absence", accepts_absence)

    def accepts_absence(self) -> bool:
        """Return whether an object without any field satisfies it."""
        return self._accepts_absence

    def asks_one_field(self) -> bool:
        """Return whether it asks for one field, which must be there, and nothing else."""
        return len(self.fields) == 1 and not self.alternatives and not self.accepts_absence()

    def alternatives_by_field(
        self,
    ) -> tuple[dict[str, list[FieldMatcher | ObjectPattern]], list[ObjectPattern]]:
        """Return what members of ``$or`` ask one field alone for, by its name, and the others.

        The first are as good as one: an object is tested for those of its fields that are among
        them.
        """
        alone: dict[str, list[FieldMatcher | ObjectPattern]] = {}
        others = []
        for member in self.alternatives:
            if member.asks_one_field():
                ((name, child),) = member.fields
                alone.setdefault(name, []).append(child)
            else:
                others.append(member)
        return alone, others

    def text(self) -> str:
        """Return canonical JSON: equal for objects that differ in the order of fields only."""
        in_order = sorted(self.fields, key=itemgetter(0))
        members = [f"{json.dumps(name)}:{_text(child)}" for name, child in in_order]
        if self.alternatives:
            alternatives = ",".join(each.text() for each in self.alternatives)
            members.append(f"{json.dumps(OR)}:[{alternatives}]")
        return "{" + ",".join(members) + "}"


def _text(child: FieldMatcher | ObjectPattern) -> str:
    return child.text if isinstance(child, FieldMatcher) else child.text()


def names_in(node: ObjectPattern) -> Iterator[str]:
    """Yield the fields that a condition names of its object itself, in ``$or`` too."""
    for name, _ in node.fields:
        yield name
    for alternative in node.alternatives:
        yield from names_in(alternative)


def cost_rank(named: tuple[str, FieldMatcher | ObjectPattern]) -> int:
    """Return the rank of a field by how long its test takes: 0 is tested first."""
    _, child = named
    return 2 if not isinstance(child, FieldMatcher) else int(not child.only_names())
