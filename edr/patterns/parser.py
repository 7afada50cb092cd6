"""The parser of body patterns. Its errors name the place of the fault.

It is strict where Event Ruler guesses: ``$or`` is always the operator, never a field of that name,
and the same field inside and outside of a ``$or`` is an error, where Ruler uses the later one. A
part that is too large is refused before it is parsed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NoReturn

from edr.errors import kind_of, shown
from edr.patterns.cost import Names, merged, work
from edr.patterns.field_matcher import OR, FieldMatcher
from edr.patterns.limits import Limits
from edr.patterns.object_pattern import ObjectPattern
from edr.patterns.operands import (
    Path,
    affix_of,
    block_of,
    canonical,
    check_length,
    comparison_of,
    members_of,
    name_of,
    number_of,
    only_member,
    range_of,
    refuse,
    text_of,
    wildcard_of,
)
from edr.patterns.scalar_set import ScalarSet, fold
from edr.patterns.suggestions import refuse_operator

_MIN_ALTERNATIVES = 2
# The cost of parsing and indexing a range or a block, in plain elements.
_RANGE = 5
_BLOCK = 2


def parse(document: object, limits: Limits) -> tuple[ObjectPattern, ObjectPattern]:
    """Return the tree of a pattern, as written and merged.

    Raises:
        InvalidBindingError: the document is not a valid pattern, or exceeds a limit.
    """
    root = _Parser(limits).fields(document, ("body",))
    simple = merged(root)
    for names, count in work(simple).items():
        if count > limits.max_cost:
            refuse(
                ("body", *names),
                f"costs {count} for each value, more than Limits.max_cost = {limits.max_cost}; "
                "use fewer wildcards, ranges or members of $or for this field, or several bindings",
            )
    return root, simple


class _Parser:
    """Reads one document."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts = _Counts(limits)

    def fields(
        self,
        document: object,
        path: Path,
        depth: int = 1,
        outside: frozenset[Names] = frozenset(),
    ) -> ObjectPattern:
        """Return the object pattern that ``document`` is.

        Args:
            document: The document at ``path``.
            path: Its place in the pattern.
            depth: Number of objects that it is nested in, itself included.
            outside: The leaves outside of the enclosing ``$or``.
        """
        members = self._members(document, path, depth)
        fields: list[tuple[str, FieldMatcher | ObjectPattern]] = []
        for name, below in members.items():
            here = (*path, name)
            if name == OR:
                continue
            if isinstance(below, dict):
                fields.append((name, self.fields(below, here, depth + 1, outside)))
            else:
                fields.append((name, self._leaf(below, here, outside)))
        alternatives: tuple[ObjectPattern, ...] = ()
        if OR in members:
            taken = outside.union(_leaves_in(ObjectPattern(tuple(fields)), _names(path)))
            alternatives = self._alternatives(members[OR], (*path, OR), depth, taken)
        node = ObjectPattern(tuple(fields), alternatives)
        most = self._limits.max_combinations
        if node.combinations > most:
            refuse(path, f"unfolds to more conjunctions than Limits.max_combinations = {most:,}")
        return node

    def _members(self, document: object, path: Path, depth: int) -> dict[str, object]:
        if not isinstance(document, dict):
            refuse(path, f"must be an object, got {kind_of(document)}")
        if not document:
            refuse(path, "must have a field: an empty object matches nothing")
        if depth > self._limits.max_depth:
            refuse(
                path, f"is nested deeper than Limits.max_depth = {self._limits.max_depth} objects"
            )
        self._counts.add("objects", 1, path)
        self._counts.check("fields", len(document) - (OR in document), path)
        members = {}
        for key, below in document.items():
            name = name_of(key, path)
            self._counts.add("characters", len(name), path)
            members[name] = below
        return members

    def _alternatives(
        self, document: object, path: Path, depth: int, outside: frozenset[Names]
    ) -> tuple[ObjectPattern, ...]:
        if not isinstance(document, list | tuple):
            refuse(path, f"must be an array of objects, got {kind_of(document)}")
        if len(document) < _MIN_ALTERNATIVES:
            refuse(path, f"must have two or more members, got {len(document)}")
        self._counts.check("fields", len(document), path)
        return tuple(
            self.fields(member, (*path, index), depth + 1, outside)
            for index, member in enumerate(document)
        )

    def _leaf(self, document: object, path: Path, outside: frozenset[Names]) -> FieldMatcher:
        if not isinstance(document, list | tuple):
            _refuse_leaf(document, path)
        check_length(document, path, self._limits.max_elements)
        if _names(path) in outside:
            # Either could be meant: both, or that the one inside wins.
            refuse(path, f"is also named outside of this {OR}; name it in one place only")
        self._counts.add("fields", 1, path)
        self._counts.add("elements", len(document), path)
        elements = _Elements(self._limits, self._counts)
        for index, element in enumerate(document):
            elements.add(element, (*path, index))
        return elements.leaf(document)


class _Counts:
    """The counts that limits apply to, of the pattern parsed so far."""

    def __init__(self, limits: Limits) -> None:
        self._left = {
            "fields": limits.max_fields,
            "objects": limits.max_objects,
            "elements": limits.max_elements,
            "characters": limits.max_characters,
        }
        self._limits = limits

    def add(self, what: str, count: int, path: Path) -> None:
        """Count parts before they are parsed; refuse them if they exceed the limit."""
        left = self._left[what] - count
        if left < 0:
            self._refuse(what, path)
        self._left[what] = left

    def check(self, what: str, count: int, path: Path) -> None:
        """Refuse parts that will be counted later if they exceed the limit."""
        if count > self._left[what]:
            self._refuse(what, path)

    def _refuse(self, what: str, path: Path) -> NoReturn:
        word = "leaves" if what == "fields" else what
        most = getattr(self._limits, f"max_{what}")
        refuse(path, f"makes more {word} in all than Limits.max_{what} = {most:,}")


def _names(path: Path) -> Names:
    """Return the names of fields on a path in a pattern, from the body on."""
    return tuple(step for step in path[1:] if isinstance(step, str) and step != OR)


def _leaves_in(node: ObjectPattern, names: Names) -> Iterator[Names]:
    for name, child in node.fields:
        if isinstance(child, FieldMatcher):
            yield (*names, name)
        else:
            yield from _leaves_in(child, (*names, name))
    for alternative in node.alternatives:
        yield from _leaves_in(alternative, names)


def _refuse_leaf(document: object, path: Path) -> NoReturn:
    name = path[-1]
    if document is None or isinstance(document, bool | str | int | float):
        element = json.dumps(document[:20] if isinstance(document, str) else document)
        if name in OPERATORS:
            element = json.dumps({name: json.loads(element)})
        refuse(path, f"must be an array or an object, got {kind_of(document)}; write [{element}]")
    refuse(path, f"must be an array of elements or an object, got {kind_of(document)}")


class _Elements:
    """The elements of one leaf, sorted by kind as they are read."""

    def __init__(self, limits: Limits, counts: _Counts) -> None:
        self._limits = limits
        self._counts = counts
        self._sets: defaultdict[str, set[Any]] = defaultdict(set)  # by attribute of ScalarSet
        self._exceptions: list[ScalarSet] = []
        self._present = False
        self._absent = False

    def leaf(self, document: list[object] | tuple[object, ...]) -> FieldMatcher:
        """Return the leaf, given the document that it was read from."""
        return FieldMatcher(
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
            read = self.operators.get(operator)
            if read is None:
                refuse_operator(operator, path, self.operators)
            read(self, operand, (*path, operator))
        elif isinstance(element, str):
            self._sets["strings"].add(self._text(element, path))
        elif element is None or isinstance(element, bool):
            self._sets["literals"].add(element)
        elif isinstance(element, int | float):
            self._sets["numbers"].add(number_of(element, path))
        else:
            refuse(
                path,
                f"must be a string, a number, true, false, null or an object with one "
                f"operator, got {kind_of(element)}",
            )

    def _values(self) -> ScalarSet:
        return ScalarSet(**{kind: frozenset(members) for kind, members in self._sets.items()})

    def _text(self, operand: object, path: Path) -> str:
        text = text_of(operand, path)
        self._counts.add("characters", len(text), path)
        return text

    def _affix(self, operand: object, path: Path) -> str:
        text = affix_of(operand, path, self._limits.max_affix_length)
        self._counts.add("characters", len(text), path)
        return text

    def _add_exactly(self, operand: object, path: Path) -> None:
        self._sets["strings"].add(self._text(operand, path))

    def _add_prefix(self, operand: object, path: Path) -> None:
        self._add_affix("prefixes", operand, path)

    def _add_suffix(self, operand: object, path: Path) -> None:
        self._add_affix("suffixes", operand, path)

    def _add_affix(self, kind: str, operand: object, path: Path) -> None:
        if isinstance(operand, dict):
            operator, folded = only_member(operand, path)
            if operator != "equals-ignore-case":
                refuse(path, f"must be a string or equals-ignore-case, got {shown(operator)}")
            self._sets["folded_" + kind].add(fold(self._affix(folded, (*path, operator))))
        else:
            self._sets[kind].add(self._affix(operand, path))

    def _add_ignoring_case(self, operand: object, path: Path) -> None:
        self._sets["folded"].add(fold(self._text(operand, path)))

    def _add_wildcard(self, operand: object, path: Path) -> None:
        wildcard = wildcard_of(self._affix(operand, path), path)
        first, *between, last = wildcard.pieces if len(wildcard.pieces) > 1 else ("", "", "")
        if len(wildcard.pieces) == 1:
            self._sets["strings"].add(wildcard.pieces[0])
        elif not (between or last):
            self._sets["prefixes"].add(first)
        elif not (between or first):
            self._sets["suffixes"].add(last)
        else:
            self._sets["wildcards"].add(wildcard)

    def _add_numeric(self, operand: object, path: Path) -> None:
        if not isinstance(operand, list | tuple):
            refuse(path, f"must be an array of operators and numbers, got {kind_of(operand)}")
        if len(operand) not in (2, 4):
            refuse(path, "must be [operator, number], once or twice")
        bounds = [
            (comparison_of(operand[at], (*path, at)), number_of(operand[at + 1], (*path, at + 1)))
            for at in range(0, len(operand), 2)
        ]
        if bounds[0][0] == "=" and len(bounds) == 1:
            self._sets["numbers"].add(bounds[0][1])
        else:
            self._counts.add("elements", _RANGE - 1, path)
            self._sets["ranges"].add(range_of(bounds, path))

    def _add_block(self, operand: object, path: Path) -> None:
        self._counts.add("elements", _BLOCK - 1, path)
        self._sets["blocks"].add(block_of(self._text(operand, path), path))

    def _add_exists(self, operand: object, path: Path) -> None:
        if not isinstance(operand, bool):
            refuse(path, f"must be true or false, got {kind_of(operand)}")
        if operand:
            self._present = True
        else:
            self._absent = True

    def _add_exception(self, operand: object, path: Path) -> None:
        excepted = _Elements(self._limits, self._counts)
        if isinstance(operand, dict):
            operator, strings = only_member(operand, path)
            read = self.exceptional.get(operator)
            if read is None:
                refuse_operator(operator, path, self.exceptional)
            for member, at in self._members(strings, (*path, operator)):
                text = text_of(member, at)
                if not text and operator in {"prefix", "suffix"}:
                    refuse(at, "must not be empty: each string begins and ends with nothing")
                read(excepted, text, at)
        else:
            kinds = set()
            for member, at in self._members(operand, path):
                if isinstance(member, dict | bool) or not isinstance(member, str | int | float):
                    refuse(at, f"must be a string or a number, got {kind_of(member)}")
                excepted.add(member, at)
                kinds.add(isinstance(member, str))
            if len(kinds) > 1:
                refuse(path, "must be all strings or all numbers")
        self._exceptions.append(excepted._values())

    def _members(self, operand: object, path: Path) -> list[tuple[object, Path]]:
        members = members_of(operand, path, self._limits.max_elements)
        self._counts.add("elements", len(members) - 1, path)
        return members

    operators: ClassVar[dict[str, Callable[[_Elements, object, Path], None]]] = {
        "exactly": _add_exactly,
        "prefix": _add_prefix,
        "suffix": _add_suffix,
        "equals-ignore-case": _add_ignoring_case,
        "wildcard": _add_wildcard,
        "numeric": _add_numeric,
        "cidr": _add_block,
        "exists": _add_exists,
        "anything-but": _add_exception,
    }
    exceptional: ClassVar[dict[str, Callable[[_Elements, object, Path], None]]] = {
        "prefix": _add_prefix,
        "suffix": _add_suffix,
        "equals-ignore-case": _add_ignoring_case,
        "wildcard": _add_wildcard,
    }


OPERATORS = frozenset(_Elements.operators)
"""The names of the operators of elements."""
