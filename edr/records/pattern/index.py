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
each kind of element asked for there; for each candidate, its other conditions, once per scope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeAlias

from edr.records.pattern.language import Pattern
from edr.records.pattern.nodes import Access, Condition, Conjunction, Entry, FieldNode, Node, ValueT
from edr.records.pattern.plan import AccessPlan, plan
from edr.records.pattern.tree import ABSENT, Fields, flat


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
        """Add a value under a pattern. A pair that is there already stays there once."""
        entry = self._entries.get(pattern)
        if entry is None:
            entry = self._entries[pattern] = Entry()
            for access in plan(pattern.root, self._root).accesses:
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
            for conjunction in entry.conjunctions:
                self._delete(conjunction)

    def match(self, body: dict[str, object]) -> list[ValueT]:
        """Return the values of all patterns that a body matches, each once, in no promised order.

        Args:
            body: As for ``Pattern.matches``.
        """
        entries: _Entries = {}
        _visit(self._root, body, [], entries)
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
        access = conjunction.access
        del access.conjunctions[conjunction]
        if not access.conjunctions:
            self._root.forget(conjunction.path, access)

    def _intern(self, fields: Fields) -> Condition:
        text = fields.text()
        condition = self._conditions.get(text)
        if condition is None:
            condition = self._conditions[text] = Condition(text, fields.test())
        condition.uses += 1
        return condition


_Scope: TypeAlias = tuple[dict[str, object], dict[Condition, bool]]
"""An object of the body, with the verdicts of the conditions that it was tested for."""

_Entries: TypeAlias = dict[Entry[Any], None]


# The next functions are the hot path. They pass on what an object would hold in attributes, and the
# first has the look-up of a scalar in its own loop: a call costs as much as the look-up itself.


def _visit(node: Node, body: dict[str, object], scopes: list[_Scope], entries: _Entries) -> None:
    """Look an object up in the fields below a node.

    Args:
        node: The node of the tree that the object is at.
        body: The object.
        scopes: The objects that it is in; the same when this returns.
        entries: Where what is found is added.
    """
    scopes.append((body, {}))
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
            _visit_composite(field, value, scopes, entries)
            continue
        accesses = probe(value)
        if accesses:
            _try(accesses, scopes, entries)
        if field.below.absences:
            _visit(field.below, {}, scopes, entries)
    for name, field in node.absences.items():
        if name not in body:
            _visit_composite(field, ABSENT, scopes, entries)
    scopes.pop()


def _visit_composite(
    field: FieldNode, value: object, scopes: list[_Scope], entries: _Entries
) -> None:
    """Look up what is no scalar at a field: an object, an array, or ``ABSENT``."""
    below = field.below
    if isinstance(value, list):
        _try(_accesses_of_array(field, value), scopes, entries)
        if below.children:
            for each in _objects_of_array(value):
                _visit(below, each, scopes, entries)
        return
    if field.absent:
        _try(field.absent, scopes, entries)
    if isinstance(value, dict):
        if below.children:
            _visit(below, value, scopes, entries)
    elif below.absences:
        _visit(below, {}, scopes, entries)


def _try(accesses: Iterable[Access], scopes: list[_Scope], entries: _Entries) -> None:
    """Add the entries of those conjunctions whose other conditions hold, too."""
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


def _accesses_of_array(field: FieldNode, array: list[object]) -> Iterable[Access]:
    """Return the accesses that some element of an array satisfies, each once."""
    found: dict[Access, None] = {}
    empty = True
    for element in flat(array):
        probe = field.probes.get(type(element))
        if probe is not None:
            empty = False
            found.update(dict.fromkeys(probe(element) or ()))
    return field.absent if empty else found


def _objects_of_array(array: list[object]) -> Iterable[dict[str, object]]:
    """Return the objects of an array; an empty one for all that are, and where there is none."""
    objects = [element for element in flat(array) if isinstance(element, dict)]
    filled = [each for each in objects if each]
    return filled if filled and len(filled) == len(objects) else [*filled, {}]
