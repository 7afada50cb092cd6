"""The index: finds the patterns that a body matches, among any number of them.

**Problem.** Testing patterns one by one takes time in proportion to their number. 100,000 bindings
with different ``call_id`` values must cost an event little more than ten.

**Idea** (of the Le Subscribe system): *one access predicate per conjunction*. When a pattern is
added, one of its conditions is chosen: the one with the shortest posting list, which is expected to
give the fewest false candidates. The pattern is stored under that condition only. A body is looked
up in the posting lists of the fields that patterns name. The patterns found there are the
candidates, and only their other conditions are tested. Equal conditions are one object
(*interned*), and its result is cached during one event, so that candidates that share a condition
test it once.

**Rejected.**

* Counting satisfied conditions (Siena, Gryphon): 100,000 patterns that share
  ``type = order.created`` cost each such event 100,000 increments.
* One automaton for all fields (Event Ruler): a pattern's fields multiply with each other's, and
  array consistency, absence and wildcards each need a second mechanism.
* Flattening the body to paths: it costs time for each field of the body, even if no pattern names
  it, and loses which values are in the same object.
* Expanding ``$or`` to conjunctions: ten with two members each are 1,024. An ``$or`` without the
  access predicate is an ordinary condition. Otherwise each of its members has an access predicate.
  So a pattern has at most as many access predicates as leaves.

**Arrays of objects.** A candidate is found at one leaf, in one object, in one array, and so on up
to the body: the *scopes*, from the body down. Its other conditions belong to these scopes. They are
tested against exactly the objects in which the leaf was found, so that one and the same object
satisfies all of them.

**Absence.** No value leads to a pattern that requires only absent fields. The nodes on the path to
such a field are marked (``Node.absences``) and visited even if the body has nothing there.

**Invariants.**

* Agreement: ``match`` returns the values of the patterns whose ``Pattern.matches`` is true.
* Each value is returned once, even if several of its patterns match.
* Nothing remains: after a removal the index is as if the pattern had never been added. The order of
  additions affects the choice of access predicates, never the result of a match.
* The time to add or remove a pattern depends on its size, not on the other patterns.

**Cost** of a match: for each object in which patterns name a field, the smaller of the number of
its fields and the number of fields named there. For each value at such a field, one probe per kind
of element there. For each candidate, its other conditions, once per scope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic

from edr.patterns.arrays import objects_of
from edr.patterns.field_matcher import ABSENT
from edr.patterns.language import Pattern
from edr.patterns.nodes import Access, Condition, Conjunction, Entry, FieldNode, Node, ValueT
from edr.patterns.object_pattern import ObjectPattern
from edr.patterns.plan import AccessPlan, plan
from edr.patterns.tables import compact


class PatternIndex(Generic[ValueT]):
    """Values stored by body pattern; one look-up finds the values of all matching patterns.

    Not safe for use by several threads at once.
    """

    __slots__ = ("_conditions", "_entries", "_root", "_size")

    def __init__(self) -> None:
        self._root = Node()
        self._entries: dict[Pattern, Entry[ValueT]] = {}
        self._conditions: dict[str, Condition] = {}
        self._size = 0

    def __len__(self) -> int:
        """Return the number of pairs of a pattern and a value."""
        return self._size

    def add(self, pattern: Pattern, value: ValueT) -> None:
        """Add a value under a pattern. A pair that is there already stays there once.

        Raises:
            TypeError: the value is not hashable; nothing has changed.
        """
        hash(value)
        entry = self._entries.get(pattern)
        if entry is None:
            entry = self._entries[pattern] = Entry()
            for access in plan(pattern.merged, self._root, self._population).accesses:
                entry.conjunctions.append(self._insert(access, entry))
        if value not in entry.values:
            entry.values[value] = None
            self._size += 1

    def remove(self, pattern: Pattern, value: ValueT) -> None:
        """Remove a pair.

        Raises:
            KeyError: it is not there; nothing has changed.
        """
        entry = self._entries[pattern]
        del entry.values[value]
        self._size -= 1
        if not entry.values:
            del self._entries[pattern]
            compact(self._entries)
            for conjunction in entry.conjunctions:
                self._delete(conjunction)
        else:
            compact(entry.values)

    def match(self, body: dict[str, object]) -> list[ValueT]:
        """Return the values of all patterns that a body matches, each once, in no promised order.

        Args:
            body: As for ``Pattern.matches``.
        """
        match = _Match()
        _visit(self._root, body, match)
        entries = match.entries
        if len(entries) == 1:
            (entry,) = entries
            return list(entry.values)
        return list({value: None for entry in entries for value in entry.values})

    def _insert(self, planned: AccessPlan, entry: Entry[ValueT]) -> Conjunction:
        others = tuple((depth, self._intern(each)) for depth, each in planned.others)
        access = self._root.access(planned.path, planned.leaf)
        conjunction = Conjunction(entry, planned.path, access, others)
        access.conjunctions[conjunction] = None
        return conjunction

    def _delete(self, conjunction: Conjunction) -> None:
        for _, condition in conjunction.others:
            condition.uses -= 1
            if not condition.uses:
                del self._conditions[condition.text]
                compact(self._conditions)
        access = conjunction.access
        del access.conjunctions[conjunction]
        if access.conjunctions:
            compact(access.conjunctions)
        else:
            self._root.forget(conjunction.path, access)

    def _population(self, fields: ObjectPattern) -> int:
        condition = self._conditions.get(fields.text())
        return 0 if condition is None else condition.uses

    def _intern(self, fields: ObjectPattern) -> Condition:
        text = fields.text()
        condition = self._conditions.get(text)
        if condition is None:
            condition = self._conditions[text] = Condition(text, fields)
        condition.uses += 1
        return condition


class _Match:
    """One match in progress.

    Attributes:
        scopes: The objects that the visited one is in, itself the last, each with the verdicts of
            the conditions that it was tested for.
        entries: The patterns found so far.
    """

    __slots__ = ("entries", "scopes")

    def __init__(self) -> None:
        self.scopes: list[tuple[dict[str, Any], dict[Condition, bool]]] = []
        self.entries: dict[Entry[Any], None] = {}


# The next functions are the hot path. The first has the look-up of a scalar in its own loop: a call
# costs as much as the look-up itself.


def _visit(node: Node, body: dict[str, Any], match: _Match) -> None:
    """Look an object up in the fields below a node."""
    if not body:
        _visit_nothing(node, match)
        return
    match.scopes.append((body, {}))
    children = node.children
    for name in body if len(body) < len(children) else children:
        value = body.get(name, ABSENT)
        if value is ABSENT:
            continue
        field = children.get(name)
        if field is None:
            continue
        probe = field.probes.get(type(value))
        if probe is None:
            _visit_composite(field, value, match)
            continue
        accesses = probe(value)
        if accesses:
            _try(accesses, match)
        if field.below.absences:
            _visit_nothing(field.below, match)
    for name, field in node.absences.items():
        if name not in body:
            _visit_composite(field, ABSENT, match)
    match.scopes.pop()


def _visit_nothing(node: Node, match: _Match) -> None:
    """Look up an object without fields, and the objects that it does not have."""
    scopes = match.scopes
    nothing: tuple[dict[str, Any], dict[Condition, bool]] = ({}, {})
    outer = len(scopes)
    for depth, field in node.asked_of_nothing():
        scopes += [nothing] * (outer + 1 + depth - len(scopes))
        _try(field.absent, match)
    del scopes[outer:]


def _visit_composite(field: FieldNode, value: object, match: _Match) -> None:
    """Look up an object, an array or ``ABSENT`` at a field."""
    if isinstance(value, list):
        _visit_array(field, value, match)
        return
    if field.accesses:
        _try(field.absent, match)  # an object is not a value
    if isinstance(value, dict):
        if field.below.children:
            _visit(field.below, value, match)
    elif field.below.absences:
        _visit_nothing(field.below, match)


def _visit_array(field: FieldNode, array: list[Any], match: _Match) -> None:
    if field.accesses:
        found: dict[Access, None] = {}
        has_scalar = _probe_elements(array, field, found)
        _try(found if has_scalar else field.absent, match)
    if field.below.children:
        for each in objects_of(array):
            _visit(field.below, each, match)


def _probe_elements(array: list[Any], field: FieldNode, found: dict[Access, None]) -> bool:
    """Add the accesses that some scalar of an array satisfies; return whether it has a scalar."""
    probe_of_type = field.probes.get
    has_scalar = False
    for element in array:
        probe = probe_of_type(type(element))
        if probe is not None:
            has_scalar = True
            accesses = probe(element)
            if accesses:
                for access in accesses:
                    found[access] = None
                if len(found) == len(field.accesses):
                    break  # the rest of the array can add none
        elif isinstance(element, list) and _probe_elements(element, field, found):
            has_scalar = True
    return has_scalar


def _try(accesses: Iterable[Access], match: _Match) -> None:
    """Add the patterns whose other conditions hold, too."""
    scopes, entries = match.scopes, match.entries
    for access in accesses:
        for conjunction in access.conjunctions:
            if conjunction.entry in entries:
                continue
            for depth, condition in conjunction.others:
                body, verdicts = scopes[depth]
                verdict = verdicts.get(condition)
                if verdict is None:
                    verdict = verdicts[condition] = condition.test(body)
                if not verdict:
                    break
            else:
                entries[conjunction.entry] = None
