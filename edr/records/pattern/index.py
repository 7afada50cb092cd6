"""The index: finds the patterns that a body matches, among any number of them.

**The problem.** Testing patterns one by one costs an event what all of them cost. 100,000
bindings that each wait for another ``call_id`` must cost little more than ten.

**The idea** is that of the Le Subscribe system: *one access predicate per conjunction*. Of the
conditions that a pattern ands, one is chosen when the pattern is added: the one whose posting list
is the shortest, so the one that the fewest bodies are expected to satisfy for nothing. The pattern
is stored under that one alone. A body is looked up in the posting lists of the fields that
patterns name; only the patterns found there are candidates, and only their other conditions are
tested. Equal conditions are one object (*interned*), whose verdict is remembered for the length of
one event, so many candidates that share a condition test it once.

**Rejected.**

* Counting satisfied conditions (Siena, Gryphon): 100,000 patterns that share
  ``type = order.created`` cost each such event 100,000 increments, whatever else they ask.
* One automaton for all fields (Event Ruler): a pattern's fields multiply with each other's, and
  array consistency, absence and wildcards each need a second mechanism beside it.
* Flattening the body to paths: it costs for each field of the body, asked for or not, and loses
  which values are in one object.
* Unfolding ``$or`` to conjunctions: ten of two members each are 1,024. An ``$or`` that the access
  predicate is not in is a condition like any other; one that it is in has one for each member,
  as the conjunctions would. So a pattern has at most as many access predicates as leaves.

**Arrays of objects.** A candidate is found at one leaf, in one object, in one array, and so on up
to the body: the *scopes*, from the body down. Its other conditions are tables of what each of
those scopes must satisfy besides. As these are tested against exactly the objects that the leaf
was found in, one and the same object satisfies them all.

Very many objects (``match.MANY``) are not visited one by one, but asked field by field (``many``).

**Absence.** A pattern that asks for absent fields only has no value to be found by. The nodes on
the way to such a field are marked (``Node.absences``) and visited even where the body has nothing.

**Invariants.**

* Agreement: ``match`` returns the values of the patterns whose ``Pattern.matches`` is true.
* Each value once, whatever number of its patterns match, and however often.
* Nothing remains: after a removal the index is as if the pattern had never been added. Only the
  order of additions shows in which access predicates were chosen, never in what matches.
* Adding and removing cost what the pattern's own size costs, whatever else is stored.

**Cost** of a match: for each object of the body that patterns name a field in, the smaller of the
number of its fields and of the fields named there; for each value at such a field, one probe for
each kind of element asked for there; for each candidate, its other conditions, once per scope. An
array is read once, whoever asks, and then its different values are probed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic

from edr.records.pattern.arrays import (
    SHORT,
    VERY_SHORT,
    Contents,
    Seen,
    contents_of,
    different,
)
from edr.records.pattern.language import Pattern
from edr.records.pattern.leaf import ABSENT
from edr.records.pattern.many import match_many
from edr.records.pattern.match import Match
from edr.records.pattern.nodes import Access, Condition, Conjunction, Entry, FieldNode, Node, ValueT
from edr.records.pattern.plan import AccessPlan, plan
from edr.records.pattern.tables import compact
from edr.records.pattern.tree import Fields


class PatternIndex(Generic[ValueT]):
    """Values by body pattern: those of all patterns that a body matches, at once.

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
        match = Match()
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

    def _population(self, fields: Fields) -> int:
        condition = self._conditions.get(fields.text())
        return 0 if condition is None else condition.uses

    def _intern(self, fields: Fields) -> Condition:
        text = fields.text()
        condition = self._conditions.get(text)
        if condition is None:
            condition = self._conditions[text] = Condition(text, fields)
        condition.uses += 1
        return condition


# The next functions are the hot path. The first has the look-up of a scalar in its own loop: a call
# costs as much as the look-up itself.


def _visit(node: Node, body: dict[str, object], match: Match) -> None:
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


def _visit_nothing(node: Node, match: Match) -> None:
    """Look an object without fields up, and those that it does not have."""
    scopes = match.scopes
    nothing: tuple[dict[str, object], dict[Condition, bool]] = ({}, {})
    outer = len(scopes)
    for depth, field in node.asked_of_nothing():
        scopes += [nothing] * (outer + 1 + depth - len(scopes))
        _try(field.absent, match)
    del scopes[outer:]


def _visit_composite(field: FieldNode, value: object, match: Match) -> None:
    """Look up what is no scalar at a field: an object, an array, or ``ABSENT``."""
    if field.accesses:
        _try(_satisfied(field, value, match.seen), match)
    if field.below.children:
        _visit_objects(field.below, value, match)


def _satisfied(field: FieldNode, value: object, seen: Seen) -> Iterable[Access]:
    """Return those accesses of a field that are satisfied by what is no scalar."""
    if not isinstance(value, list):
        return field.absent
    size = len(value)
    if size == 1:
        probe = field.probes.get(type(value[0]))
        if probe is not None:
            return probe(value[0]) or ()
    if size > SHORT:
        return field.postings.probe_contents(contents_of(value, seen))
    found: dict[Access, None] = {}
    empty = True
    for element in value if size <= VERY_SHORT else different(value):
        probe = field.probes.get(type(element))
        if probe is not None:
            empty = False
            accesses = probe(element)
            if accesses:
                found.update(dict.fromkeys(accesses))
        elif isinstance(element, list):
            return field.postings.probe_contents(contents_of(value, seen))
    return field.absent if empty else found


def _visit_objects(below: Node, value: object, match: Match) -> None:
    """Look the objects that a value has up in the fields below its own: itself, or those in it."""
    while isinstance(value, list) and len(value) == 1:
        (value,) = value  # the only element of an array is as good as the array
    if isinstance(value, dict):
        _visit(below, value, match)
    elif isinstance(value, list):
        _visit_array(below, value, match)
    elif below.absences:
        _visit_nothing(below, match)


def _visit_array(below: Node, array: list[object], match: Match) -> None:
    if len(array) > SHORT:
        _visit_contents(below, contents_of(array, match.seen), match)
        return
    objects = []
    for element in array:
        if isinstance(element, dict):
            objects.append(element)
        elif isinstance(element, list):
            _visit_contents(below, contents_of(array, match.seen), match)
            return
    _visit_few(below, objects or _NO_OBJECT, match)


_NO_OBJECT: list[dict[str, Any]] = [{}]
"""What stands for the objects of a value that has none: their fields are absent."""


def _visit_contents(below: Node, contents: Contents, match: Match) -> None:
    if contents.with_empty and below.absences:  # all empty objects are alike
        _visit_nothing(below, match)
    if len(contents.objects) <= SHORT:
        _visit_few(below, contents.objects, match)
    else:
        match_many(below, contents.objects, match)


def _visit_few(below: Node, objects: list[dict[str, Any]], match: Match) -> None:
    match.one_by_one -= len(objects)
    for at, each in enumerate(objects):
        if match.one_by_one <= 0:
            match_many(below, objects[at:], match)
            return
        _visit(below, each, match)


def _try(accesses: Iterable[Access], match: Match) -> None:
    """Add the entries of those conjunctions whose other conditions hold, too."""
    scopes, entries = match.scopes, match.entries
    for access in accesses:
        for conjunction in access.conjunctions:
            if conjunction.entry in entries:
                continue
            for depth, condition in conjunction.others:
                body, verdicts = scopes[depth]
                verdict = verdicts.get(condition)
                if verdict is None:
                    verdict = verdicts[condition] = condition.test(body, match.seen)
                if not verdict:
                    break
            else:
                entries[conjunction.entry] = None
