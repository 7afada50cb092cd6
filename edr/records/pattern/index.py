"""The index: finds the patterns that a body matches, among any number of them.

**The problem.** Testing patterns one by one costs an event what all of them cost. 100,000
bindings that each wait for another ``call_id`` must cost little more than ten.

**The idea** is that of the Le Subscribe system: *one access predicate per conjunction*. Of the
conditions that a pattern ands, one is chosen when the pattern is added: the one whose posting list
is the shortest, so the one that the fewest bodies are expected to satisfy for nothing. The pattern
is stored under that one alone. A body is looked up in the posting lists of the places that
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
the way to such a field are marked (`_Node.absences`) and visited even where the body has nothing.

**Invariants.**

* Agreement: `match` returns the values of the patterns whose `Pattern.matches` is true.
* Each value once, whatever number of its patterns match, and however often.
* Nothing remains: after a removal the index is as if the pattern had never been added. Only the
  order of additions shows in which access predicates were chosen, never in what matches.
* Adding and removing cost what the pattern's own size costs, whatever else is stored.

**Cost** of a match: for each object of the body that patterns name a place in, the smaller of the
number of its fields and of the fields named there; for each value at such a place, one probe for
each kind of element asked for there; for each candidate, its other conditions, once per scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from edr.records.pattern.postings import LeafPostings, is_broad
from edr.records.pattern.tree import ABSENT, Fields, Leaf, flat

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from edr.records.pattern.language import Pattern

ValueT = TypeVar("ValueT", bound="Hashable")


class PatternIndex(Generic[ValueT]):
    """Values by body pattern: those of all patterns that a body matches, at once.

    Not safe for use by several threads at once.
    """

    __slots__ = ("_conditions", "_entries", "_root", "_size")

    def __init__(self) -> None:
        self._root = _Node()
        self._entries: dict[Pattern, _Entry[ValueT]] = {}
        self._conditions: dict[str, _Condition] = {}
        self._size = 0

    def __len__(self) -> int:
        """Return the number of pairs of a pattern and a value."""
        return self._size

    def add(self, pattern: Pattern, value: ValueT) -> None:
        """Add a value under a pattern. A pair that is there already stays there once."""
        entry = self._entries.get(pattern)
        if entry is None:
            entry = self._entries[pattern] = _Entry()
            for plan in _plan(pattern.root, self._root).accesses:
                entry.conjunctions.append(self._insert(plan, entry))
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
            body: As for `Pattern.matches`.
        """
        entries: _Entries = {}
        _visit(self._root, body, [], entries)
        if len(entries) == 1:
            (entry,) = entries
            return list(entry.values)
        return list({value: None for entry in entries for value in entry.values})

    def _insert(self, plan: _AccessPlan, entry: _Entry[ValueT]) -> _Conjunction:
        others = tuple((depth, self._intern(each)) for depth, each in plan.others)
        access = self._root.access(plan.path, plan.leaf)
        conjunction = _Conjunction(entry, plan.path, access, others)
        access.conjunctions[conjunction] = None
        return conjunction

    def _delete(self, conjunction: _Conjunction) -> None:
        for _, condition in conjunction.others:
            condition.uses -= 1
            if not condition.uses:
                del self._conditions[condition.text]
        access = conjunction.access
        del access.conjunctions[conjunction]
        if not access.conjunctions:
            self._root.forget(conjunction.path, access)

    def _intern(self, fields: Fields) -> _Condition:
        text = fields.text()
        condition = self._conditions.get(text)
        if condition is None:
            condition = self._conditions[text] = _Condition(text, fields.test())
        condition.uses += 1
        return condition


# What is stored -------------------------------------------------------------------------------


class _Entry(Generic[ValueT]):
    """One pattern, with its values."""

    __slots__ = ("conjunctions", "values")

    def __init__(self) -> None:
        self.values: dict[ValueT, None] = {}
        self.conjunctions: list[_Conjunction] = []


class _Condition:
    """A condition on an object, one for all that ask for the same."""

    __slots__ = ("test", "text", "uses")

    def __init__(self, text: str, test: Callable[[dict[str, object]], bool]) -> None:
        self.text = text
        self.test = test
        self.uses = 0


class _Access:
    """A leaf at one place, with the conjunctions whose access predicate it is."""

    __slots__ = ("conjunctions", "leaf")

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.conjunctions: dict[_Conjunction, None] = {}


class _Conjunction:
    """One way to match a pattern: its access predicate, and all that is asked besides.

    Attributes:
        others: The other conditions, each with the scope it is about: 0 for the body, 1 for an
            object at a field of it on the way to the access predicate, and so on.
    """

    __slots__ = ("access", "entry", "others", "path")

    def __init__(
        self,
        entry: _Entry[Any],
        path: tuple[str, ...],
        access: _Access,
        others: tuple[tuple[int, _Condition], ...],
    ) -> None:
        self.entry = entry
        self.path = path
        self.access = access
        self.others = others


class _Place:
    """A field of an object: the leaves that are asked for there, and the fields below it.

    Attributes:
        accesses: By the text of their leaf.
        postings: Their posting lists, of which `probes` and `absent` are repeated here.
        below: What is asked of an object there.
    """

    __slots__ = ("absent", "accesses", "below", "postings", "probes")

    def __init__(self) -> None:
        self.accesses: dict[str, _Access] = {}
        self.postings: LeafPostings[_Access] = LeafPostings()
        self.probes = self.postings.probes
        self.absent = self.postings.absent
        self.below = _Node()

    @property
    def with_absences(self) -> bool:
        """Whether something matches here, or below, where the body has nothing."""
        return bool(self.absent or self.below.absences)


class _Node:
    """An object: the places of its fields that access predicates are at, or below.

    Attributes:
        absences: Those of the children that are visited even if the body does not have them.
    """

    __slots__ = ("absences", "children")

    def __init__(self) -> None:
        self.children: dict[str, _Place] = {}
        self.absences: dict[str, _Place] = {}

    def access(self, path: tuple[str, ...], leaf: Leaf) -> _Access:
        """Return the access of a leaf at a path below this node, made if it is not there."""
        name, *rest = path
        place = self.children.get(name)
        if place is None:
            place = self.children[name] = _Place()
        if rest:
            access = place.below.access(tuple(rest), leaf)
        else:
            access = place.accesses.get(leaf.text) or _Access(leaf)
            if not access.conjunctions:
                place.accesses[leaf.text] = access
                place.postings.add(leaf, access)
        if place.with_absences:
            self.absences[name] = place
        return access

    def forget(self, path: tuple[str, ...], access: _Access) -> None:
        """Undo `access`."""
        name, *rest = path
        place = self.children[name]
        if rest:
            place.below.forget(tuple(rest), access)
        else:
            del place.accesses[access.leaf.text]
            place.postings.discard(access.leaf, access)
        if not place.with_absences:
            self.absences.pop(name, None)
        if not (place.accesses or place.below.children):
            del self.children[name]


_Scope: TypeAlias = tuple[dict[str, object], dict[_Condition, bool]]
"""An object of the body, with the verdicts of the conditions that it was tested for."""

_Entries: TypeAlias = dict[_Entry[Any], None]


# How an access predicate is chosen ------------------------------------------------------------


class _Cost(NamedTuple):
    """How bad an access predicate is; the least is the best.

    Attributes:
        tier: 0 for a leaf that names values, 1 for one that nearly any value satisfies, 2 for one
            that nothing satisfies. A longer list of a lower tier is better: the list of a
            ``type`` is met by the events of that type, that of an ``anything-but`` by all.
        size: The length of the posting lists.
        breadth: Which kind satisfies fewer bodies, where the lists are of one length.
    """

    tier: int
    size: int
    breadth: int


class _AccessPlan(NamedTuple):
    """An access predicate to be: where, what, and the conditions besides, by scope."""

    path: tuple[str, ...]
    leaf: Leaf
    others: tuple[tuple[int, Fields], ...]


class _Plan(NamedTuple):
    """The access predicates of a pattern: one, or one for each member of an ``$or``."""

    cost: _Cost
    accesses: list[_AccessPlan]


_NOWHERE: Final = _Node()


def _plan(fields: Fields, node: _Node, depth: int = 0) -> _Plan:
    """Return the cheapest access predicates for an object pattern that is at `node`."""
    plans = [_plan_of_field(name, child, node, depth) for name, child in fields.fields]
    conditions = [Fields((field,)) for field in fields.fields]
    if fields.alternatives:
        plans.append(_plan_of_alternatives(fields.alternatives, node, depth))
        conditions.append(Fields((), fields.alternatives))
    best = min(range(len(plans)), key=lambda position: plans[position].cost)
    others = tuple((depth, each) for at, each in enumerate(conditions) if at != best)
    if not others:
        return plans[best]
    return _Plan(
        plans[best].cost,
        [each._replace(others=others + each.others) for each in plans[best].accesses],
    )


def _plan_of_field(name: str, child: Leaf | Fields, node: _Node, depth: int) -> _Plan:
    place = node.children.get(name)
    if isinstance(child, Leaf):
        return _Plan(_cost(child, place), [_AccessPlan((name,), child, ())])
    below = _plan(child, _NOWHERE if place is None else place.below, depth + 1)
    return _Plan(below.cost, [each._replace(path=(name, *each.path)) for each in below.accesses])


def _plan_of_alternatives(alternatives: Iterable[Fields], node: _Node, depth: int) -> _Plan:
    plans = [_plan(each, node, depth) for each in alternatives]
    cost = _Cost(
        tier=max(each.cost.tier for each in plans),
        size=sum(each.cost.size for each in plans),
        breadth=max(each.cost.breadth for each in plans),
    )
    return _Plan(cost, [access for each in plans for access in each.accesses])


def _cost(leaf: Leaf, place: _Place | None) -> _Cost:
    tier = 2 if leaf.absent else 1 if is_broad(leaf) else 0
    size = 0
    if place is not None:
        size = place.postings.size(leaf)
        access = place.accesses.get(leaf.text)
        if access is not None:
            size += len(access.conjunctions)
    values = leaf.values
    breadth = 0
    if values.literals or any(None in (each.lower, each.upper) for each in values.ranges):
        breadth = 2
    elif not (values.strings or values.numbers or values.folded):
        breadth = 1
    return _Cost(tier, size, breadth)


# How a body is looked up ----------------------------------------------------------------------


# The next functions are the hot path. They pass on what an object would hold in attributes, and the
# first has the look-up of a scalar in its own loop: a call costs as much as the look-up itself.


def _visit(node: _Node, body: dict[str, object], scopes: list[_Scope], entries: _Entries) -> None:
    """Look an object up in the places below a node.

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
        place = children.get(name)
        if place is None:
            continue
        probe = place.probes.get(type(value))
        if probe is None:
            _visit_composite(place, value, scopes, entries)
            continue
        accesses = probe(value)
        if accesses:
            _try(accesses, scopes, entries)
        if place.below.absences:
            _visit(place.below, {}, scopes, entries)
    for name, place in node.absences.items():
        if name not in body:
            _visit_composite(place, ABSENT, scopes, entries)
    scopes.pop()


def _visit_composite(place: _Place, value: object, scopes: list[_Scope], entries: _Entries) -> None:
    """Look up what is no scalar at a place: an object, an array, or `ABSENT`."""
    below = place.below
    if isinstance(value, list):
        _try(_accesses_of_array(place, value), scopes, entries)
        if below.children:
            for each in _objects_of_array(value):
                _visit(below, each, scopes, entries)
        return
    if place.absent:
        _try(place.absent, scopes, entries)
    if isinstance(value, dict):
        if below.children:
            _visit(below, value, scopes, entries)
    elif below.absences:
        _visit(below, {}, scopes, entries)


def _try(accesses: Iterable[_Access], scopes: list[_Scope], entries: _Entries) -> None:
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


def _accesses_of_array(place: _Place, array: list[object]) -> Iterable[_Access]:
    """Return the accesses that some element of an array satisfies, each once."""
    found: dict[_Access, None] = {}
    empty = True
    for element in flat(array):
        probe = place.probes.get(type(element))
        if probe is not None:
            empty = False
            found.update(dict.fromkeys(probe(element) or ()))
    return place.absent if empty else found


def _objects_of_array(array: list[object]) -> Iterable[dict[str, object]]:
    """Return the objects of an array; an empty one for all that are, and where there is none."""
    objects = [element for element in flat(array) if isinstance(element, dict)]
    filled = [each for each in objects if each]
    return filled if filled and len(filled) == len(objects) else [*filled, {}]
