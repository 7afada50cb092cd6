"""Reads a document as a body pattern, and refuses what is none, naming the place.

Reading is strict where Event Ruler guesses: ``$or`` is always the operator, never a field of that
name; one field inside and outside of a ``$or`` is an error, where Ruler lets the later one win.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

from edr.errors import kind_of
from edr.records.pattern.limits import MAX_COMBINATIONS, MAX_DEPTH, MAX_FIELDS, MAX_TRIED
from edr.records.pattern.operands import (
    Path,
    affix,
    canonical,
    check_length,
    comparison,
    field_name,
    members_of,
    network,
    number,
    only_member,
    pieces,
    range_of,
    refuse,
    text_of,
)
from edr.records.pattern.tree import OR, Fields, Leaf
from edr.records.pattern.values import Values, Wildcard, fold

_MIN_ALTERNATIVES = 2


def parse(document: object) -> Fields:
    """Return the tree of a pattern.

    Raises:
        InvalidBinding: the document is no pattern.
    """
    return _Parser().fields(document, ("body",))


class _Parser:
    """Reads one document, and counts what the limits on a whole pattern are about."""

    def __init__(self) -> None:
        self._fields = 0
        self._tried: Counter[Path] = Counter()  # by the names on the way

    def fields(
        self, document: object, path: Path, depth: int = 1, outside: frozenset[str] = frozenset()
    ) -> Fields:
        """Return the object pattern that ``document`` is.

        Args:
            document: What is at ``path``.
            path: Where this is in the pattern.
            depth: How many objects of the pattern this is in, itself counted.
            outside: The fields that are asked for outside of the ``$or`` that this is a member of.
        """
        if not isinstance(document, dict):
            refuse(path, f"must be an object, not {kind_of(document)}")
        if not document:
            refuse(path, "must have a field: an empty object asks for nothing")
        if depth > MAX_DEPTH:
            refuse(path, f"is nested deeper than MAX_DEPTH = {MAX_DEPTH} objects")
        members = [(field_name(key, path), below) for key, below in document.items()]
        outside_of_or = outside.union(name for name, _ in members)
        fields: list[tuple[str, Leaf | Fields]] = []
        alternatives: tuple[Fields, ...] = ()
        for name, below in members:
            here = (*path, name)
            if name == OR:
                alternatives = self._alternatives(below, here, depth, outside_of_or - {OR})
            elif name in outside:
                # Either could be meant: both, or that the one inside wins. In an array of objects
                # the two could even hold for different ones.
                refuse(here, f"is also asked for outside of this {OR}: ask in one place")
            elif isinstance(below, dict):
                fields.append((name, self.fields(below, here, depth + 1)))
            else:
                fields.append((name, self._leaf(below, here)))
        node = Fields(tuple(fields), alternatives)
        if _combinations(node) > MAX_COMBINATIONS:
            refuse(path, f"unfolds to more than MAX_COMBINATIONS = {MAX_COMBINATIONS} conjunctions")
        return node

    def _alternatives(
        self, document: object, path: Path, depth: int, outside: frozenset[str]
    ) -> tuple[Fields, ...]:
        if not isinstance(document, list | tuple):
            refuse(path, f"must be an array of objects, not {kind_of(document)}")
        if len(document) < _MIN_ALTERNATIVES:
            refuse(path, f"must have two or more members, not {len(document)}")
        return tuple(
            self.fields(member, (*path, index), depth + 1, outside)
            for index, member in enumerate(document)
        )

    def _leaf(self, document: object, path: Path) -> Leaf:
        if not isinstance(document, list | tuple):
            refuse(path, f"must be an array of elements or an object, not {kind_of(document)}")
        check_length(document, path)
        self._fields += 1
        if self._fields > MAX_FIELDS:
            refuse(path, f"is one leaf more than MAX_FIELDS = {MAX_FIELDS} in a pattern")
        elements = _Elements()
        for index, element in enumerate(document):
            elements.add(element, (*path, index))
        leaf = elements.leaf(document)
        names = tuple(step for step in path if isinstance(step, str) and step != OR)
        self._tried[names] += len(leaf.exceptions) + sum(
            len(each.ranges) + len(each.wildcards) for each in (leaf.values, *leaf.exceptions)
        )
        if self._tried[names] > MAX_TRIED:
            refuse(
                path,
                "has a numeric range, wildcard or anything-but more than "
                f"MAX_TRIED = {MAX_TRIED} for one field",
            )
        return leaf


class _Elements:
    """The elements of one leaf, sorted by kind as they are read."""

    def __init__(self) -> None:
        self._sets: defaultdict[str, set[Any]] = defaultdict(set)  # by attribute of Values
        self._exceptions: list[Values] = []
        self._present = False
        self._absent = False

    def leaf(self, document: list[object] | tuple[object, ...]) -> Leaf:
        """Return the leaf, given the document that it was read from."""
        return Leaf(
            values=self._values(),
            exceptions=tuple(self._exceptions),
            present=self._present,
            absent=self._absent,
            text=canonical(document),
        )

    def add(self, element: object, path: Path) -> None:
        """Read one element."""
        if isinstance(element, dict):
            operator, operand = only_member(element, path)
            read = self._operators.get(operator)
            if read is None:
                known = ", ".join(sorted(self._operators))
                refuse(path, f"has the unknown operator {operator!r}; there are {known}")
            read(self, operand, (*path, operator))
        elif isinstance(element, str):
            self._sets["strings"].add(text_of(element, path))
        elif element is None or isinstance(element, bool):
            self._sets["literals"].add(element)
        elif isinstance(element, int | float):
            self._sets["numbers"].add(number(element, path))
        else:
            refuse(
                path,
                f"must be a string, a number, true, false, null or an object with one "
                f"operator, not {kind_of(element)}",
            )

    def _values(self) -> Values:
        return Values(**{kind: frozenset(members) for kind, members in self._sets.items()})

    def _add_exactly(self, operand: object, path: Path) -> None:
        self._sets["strings"].add(text_of(operand, path))

    def _add_prefix(self, operand: object, path: Path) -> None:
        self._add_affix("prefixes", operand, path)

    def _add_suffix(self, operand: object, path: Path) -> None:
        self._add_affix("suffixes", operand, path)

    def _add_affix(self, kind: str, operand: object, path: Path) -> None:
        if isinstance(operand, dict):
            operator, folded = only_member(operand, path)
            if operator != "equals-ignore-case":
                refuse(path, f"must be a string or equals-ignore-case, not {operator!r}")
            self._sets["folded_" + kind].add(fold(affix(folded, (*path, operator))))
        else:
            self._sets[kind].add(affix(operand, path))

    def _add_ignoring_case(self, operand: object, path: Path) -> None:
        self._sets["folded"].add(fold(text_of(operand, path)))

    def _add_wildcard(self, operand: object, path: Path) -> None:
        literals = pieces(text_of(operand, path), path)
        if len(literals) == 1:
            self._sets["strings"].add(literals[0])
        else:
            self._sets["wildcards"].add(Wildcard(literals))

    def _add_numeric(self, operand: object, path: Path) -> None:
        if not isinstance(operand, list | tuple):
            refuse(path, f"must be an array of operators and numbers, not {kind_of(operand)}")
        if len(operand) not in (2, 4):
            refuse(path, "must be [operator, number], once or twice")
        bounds = [
            (comparison(operand[at], (*path, at)), number(operand[at + 1], (*path, at + 1)))
            for at in range(0, len(operand), 2)
        ]
        if bounds[0][0] == "=" and len(bounds) == 1:
            self._sets["numbers"].add(bounds[0][1])
        else:
            self._sets["ranges"].add(range_of(bounds, path))

    def _add_network(self, operand: object, path: Path) -> None:
        self._sets["networks"].add(network(text_of(operand, path), path))

    def _add_exists(self, operand: object, path: Path) -> None:
        if not isinstance(operand, bool):
            refuse(path, f"must be true or false, not {kind_of(operand)}")
        if operand:
            self._present = True
        else:
            self._absent = True

    def _add_exception(self, operand: object, path: Path) -> None:
        excepted = _Elements()
        if isinstance(operand, dict):
            operator, strings = only_member(operand, path)
            read = self._exceptional.get(operator)
            if read is None:
                known = ", ".join(sorted(self._exceptional))
                refuse(path, f"has the unknown operator {operator!r}; there are {known}")
            for member, at in members_of(strings, (*path, operator)):
                text = text_of(member, at)
                if not text and operator in {"prefix", "suffix"}:
                    refuse(at, "must not be empty: each string begins and ends with nothing")
                read(excepted, text, at)
        else:
            kinds = set()
            for member, at in members_of(operand, path):
                if isinstance(member, dict | bool) or not isinstance(member, str | int | float):
                    refuse(at, f"must be a string or a number, not {kind_of(member)}")
                excepted.add(member, at)
                kinds.add(isinstance(member, str))
            if len(kinds) > 1:
                refuse(path, "must be all strings or all numbers")
        self._exceptions.append(excepted._values())

    _operators: ClassVar[dict[str, Callable[[_Elements, object, Path], None]]] = {
        "exactly": _add_exactly,
        "prefix": _add_prefix,
        "suffix": _add_suffix,
        "equals-ignore-case": _add_ignoring_case,
        "wildcard": _add_wildcard,
        "numeric": _add_numeric,
        "cidr": _add_network,
        "exists": _add_exists,
        "anything-but": _add_exception,
    }
    _exceptional: ClassVar[dict[str, Callable[[_Elements, object, Path], None]]] = {
        "prefix": _add_prefix,
        "suffix": _add_suffix,
        "equals-ignore-case": _add_ignoring_case,
        "wildcard": _add_wildcard,
    }


def _combinations(node: Fields) -> int:
    below = prod(_combinations(child) for _, child in node.fields if isinstance(child, Fields))
    return below * (sum(map(_combinations, node.alternatives)) if node.alternatives else 1)
