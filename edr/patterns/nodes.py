"""The tree of the index: patterns by access predicate, at the fields that they name."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from edr.patterns.field_matcher import FieldMatcher, Test
from edr.patterns.object_pattern import ObjectPattern
from edr.patterns.objects import test_of_object
from edr.patterns.postings import FieldPostings
from edr.patterns.tables import Probe, compact

ValueT = TypeVar("ValueT", bound="Hashable")


class Entry(Generic[ValueT]):
    """One pattern, with its values."""

    __slots__ = ("conjunctions", "values")

    def __init__(self) -> None:
        self.values: dict[ValueT, None] = {}
        self.conjunctions: list[Conjunction] = []


class Condition:
    """A condition on an object, one for all patterns that have the same.

    Attributes:
        text: The condition as canonical JSON.
        test: Its test.
        uses: How many conjunctions have it.
    """

    __slots__ = ("test", "text", "uses")

    def __init__(self, text: str, fields: ObjectPattern) -> None:
        self.text: str = text
        self.test: Test = test_of_object(fields)
        self.uses: int = 0


class Access:
    """A leaf at one field, with the conjunctions whose access predicate it is."""

    __slots__ = ("conjunctions", "leaf")

    def __init__(self, leaf: FieldMatcher) -> None:
        self.leaf: FieldMatcher = leaf
        self.conjunctions: dict[Conjunction, None] = {}

    def __len__(self) -> int:
        """Return how many conjunctions are found by it."""
        return len(self.conjunctions)


class Conjunction:
    """One way to match a pattern: its access predicate and its other conditions.

    Attributes:
        others: The other conditions, each with its scope: 0 for the body, 1 for an object at a
            field of it on the way to the access predicate, and so on. Each scope but the body has
            at most one.
    """

    __slots__ = ("access", "entry", "others", "path")

    def __init__(
        self,
        entry: Entry[Any],
        path: tuple[str, ...],
        access: Access,
        others: tuple[tuple[int, Condition], ...],
    ) -> None:
        self.entry: Entry[Any] = entry
        self.path: tuple[str, ...] = path
        self.access: Access = access
        self.others: tuple[tuple[int, Condition], ...] = others


class FieldNode:
    """A field of an object: the leaves that are asked for there, and the fields below it.

    Attributes:
        accesses: By the text of their leaf.
        postings: Their posting lists, of which ``probes`` and ``absent`` are repeated here.
        below: The conditions on an object in this field.
    """

    __slots__ = ("absent", "accesses", "below", "postings", "probes")

    def __init__(self) -> None:
        self.accesses: dict[str, Access] = {}
        self.postings: FieldPostings[Access] = FieldPostings()
        self.probes: dict[type, Probe[Access]] = self.postings.probes
        self.absent: dict[Access, None] = self.postings.absent
        self.below: Node = Node()

    @property
    def with_absences(self) -> bool:
        """Whether something matches here, or below, where the body has nothing."""
        return bool(self.absent or self.below.absences)


class Node:
    """An object: the places of its fields that access predicates are at, or below.

    Attributes:
        absences: Those of the children that are visited even if the body does not have them.
    """

    __slots__ = ("_asked_of_nothing", "absences", "children")

    def __init__(self) -> None:
        self.children: dict[str, FieldNode] = {}
        self.absences: dict[str, FieldNode] = {}
        self._asked_of_nothing: list[tuple[int, FieldNode]] | None = None

    def asked_of_nothing(self) -> list[tuple[int, FieldNode]]:
        """Return the fields at which an empty object matches, however deep below this node.

        Each comes with the number of further objects that it is nested in. Walking down to it for
        each empty object would take time in proportion to the depth of the pattern.
        """
        if self._asked_of_nothing is None:
            fields = self.absences.values()
            self._asked_of_nothing = [
                *((0, field) for field in fields if field.absent),
                *(
                    (depth + 1, each)
                    for field in fields
                    for depth, each in field.below.asked_of_nothing()
                ),
            ]
        return self._asked_of_nothing

    def access(self, path: tuple[str, ...], leaf: FieldMatcher) -> Access:
        """Return the access of a leaf at a path below this node, made if it is not there."""
        self._asked_of_nothing = None
        name, *rest = path
        field = self.children.get(name)
        if field is None:
            field = self.children[name] = FieldNode()
        if rest:
            access = field.below.access(tuple(rest), leaf)
        else:
            access = field.accesses.get(leaf.text) or Access(leaf)
            if not access.conjunctions:
                field.accesses[leaf.text] = access
                field.postings.add(leaf, access)
        if field.with_absences:
            self.absences[name] = field
        return access

    def forget(self, path: tuple[str, ...], access: Access) -> None:
        """Undo ``access``."""
        self._asked_of_nothing = None
        name, *rest = path
        field = self.children[name]
        if rest:
            field.below.forget(tuple(rest), access)
        else:
            del field.accesses[access.leaf.text]
            compact(field.accesses)
            field.postings.discard(access.leaf, access)
        if not field.with_absences and name in self.absences:
            del self.absences[name]
            compact(self.absences)
        if not (field.accesses or field.below.children):
            del self.children[name]
            compact(self.children)
