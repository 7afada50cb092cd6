"""Reads a document as a body pattern, and refuses what is none, naming the place.

Reading is strict where Event Ruler guesses: ``$or`` is always the operator, never a field of that
name; one field inside and outside of a ``$or`` is an error, where Ruler lets the later one win.

The limits are here, each with its reason. Together they make a match at most linear in the size
of the body, times a constant that they bound.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter, defaultdict
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from edr.errors import InvalidBinding
from edr.records.pattern.tree import OR, Fields, Leaf
from edr.records.pattern.values import Range, Values, Wildcard, fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from edr.records.pattern.values import Network, Number

MAX_DEPTH: Final = 128
"""Objects within each other, members of ``$or`` included. No body nests deeper, and parsing and
testing recurse."""

MAX_ELEMENTS: Final = 10_000
"""Elements of one leaf, or of one list in it. They are looked up in tables, so this bounds memory
and the time of parsing (some 10 ms), not that of matching."""

MAX_FIELDS: Final = 128
"""Leaves of a pattern. Each object in an array of a body is tested for each of them, so it is a
factor of the cost. The 2 KiB that EventBridge allows for a pattern hold hardly more."""

MAX_TRIED: Final = 16
"""Numeric ranges, wildcards and `anything-but` that a pattern asks of one field, in all members of
``$or``. No table finds these: each is tried against each value, so it is a factor of the cost."""

MAX_WILDCARDS: Final = 64
"""``*`` in one string. A match is linear for any number of them; nobody means more."""

MAX_AFFIX: Final = 1_024
"""Characters of one prefix or suffix. For each length in use, that many characters are cut from a
value and hashed; the sum over all lengths is quadratic in the longest."""

MAX_COMBINATIONS: Final = 1_000
"""Plain conjunctions that the ``$or`` of a pattern unfold to. EventBridge's limit: what is refused
there is refused here, and nobody could say what more of them ask for."""

MAX_INTEGER: Final = 2**1_024
"""Magnitude of an integer, exclusive. Every float is smaller, so larger bounds would tell no two
numbers of a body apart; without a limit, the text of one could have any length."""

Path: TypeAlias = tuple[str | int, ...]

_MIN_ALTERNATIVES: Final = 2


def parse(document: object) -> Fields:
    """Return the tree of a pattern.

    Raises:
        InvalidBinding: the document is no pattern.
    """
    return _Parser().fields(document, ("body",))


def path_text(path: Path) -> str:
    """Return a path for people: ``("body", "a.b", "c", 0)`` is ``body["a.b"].c[0]``."""
    first, *steps = path
    text = str(first)
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}"
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


class _Parser:
    """Reads one document, and counts what the limits on a whole pattern are about."""

    def __init__(self) -> None:
        self._fields = 0
        self._tried: Counter[Path] = Counter()  # by the names on the way

    def fields(
        self, document: object, path: Path, depth: int = 1, outside: frozenset[str] = frozenset()
    ) -> Fields:
        """Return the object pattern that `document` is.

        Args:
            document: What is at `path`.
            path: Where this is in the pattern.
            depth: How many objects of the pattern this is in, itself counted.
            outside: The fields that are asked for outside of the ``$or`` that this is a member of.
        """
        if not isinstance(document, dict):
            _refuse(path, f"must be an object, not {_kind(document)}")
        if not document:
            _refuse(path, "must have a field: an empty object asks for nothing")
        if depth > MAX_DEPTH:
            _refuse(path, f"is nested deeper than MAX_DEPTH = {MAX_DEPTH} objects")
        members = [(_field_name(key, path), below) for key, below in document.items()]
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
                _refuse(here, f"is also asked for outside of this {OR}: ask in one place")
            elif isinstance(below, dict):
                fields.append((name, self.fields(below, here, depth + 1)))
            else:
                fields.append((name, self._leaf(below, here)))
        node = Fields(tuple(fields), alternatives)
        if _combinations(node) > MAX_COMBINATIONS:
            _refuse(
                path, f"unfolds to more than MAX_COMBINATIONS = {MAX_COMBINATIONS} conjunctions"
            )
        return node

    def _alternatives(
        self, document: object, path: Path, depth: int, outside: frozenset[str]
    ) -> tuple[Fields, ...]:
        if not isinstance(document, list | tuple):
            _refuse(path, f"must be an array of objects, not {_kind(document)}")
        if len(document) < _MIN_ALTERNATIVES:
            _refuse(path, f"must have two or more members, not {len(document)}")
        return tuple(
            self.fields(member, (*path, index), depth + 1, outside)
            for index, member in enumerate(document)
        )

    def _leaf(self, document: object, path: Path) -> Leaf:
        if not isinstance(document, list | tuple):
            _refuse(path, f"must be an array of elements or an object, not {_kind(document)}")
        _check_length(document, path)
        self._fields += 1
        if self._fields > MAX_FIELDS:
            _refuse(path, f"is one leaf more than MAX_FIELDS = {MAX_FIELDS} in a pattern")
        elements = _Elements()
        for index, element in enumerate(document):
            elements.add(element, (*path, index))
        leaf = elements.leaf(document)
        names = tuple(step for step in path if isinstance(step, str) and step != OR)
        self._tried[names] += len(leaf.exceptions) + sum(
            len(each.ranges) + len(each.wildcards) for each in (leaf.values, *leaf.exceptions)
        )
        if self._tried[names] > MAX_TRIED:
            _refuse(
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
            text=_canonical(document),
        )

    def add(self, element: object, path: Path) -> None:
        """Read one element."""
        if isinstance(element, dict):
            operator, operand = _only_member(element, path)
            read = self._operators.get(operator)
            if read is None:
                known = ", ".join(sorted(self._operators))
                _refuse(path, f"has the unknown operator {operator!r}; there are {known}")
            read(self, operand, (*path, operator))
        elif isinstance(element, str):
            self._sets["strings"].add(_text(element, path))
        elif element is None or isinstance(element, bool):
            self._sets["literals"].add(element)
        elif isinstance(element, int | float):
            self._sets["numbers"].add(_number(element, path))
        else:
            _refuse(
                path,
                f"must be a string, a number, true, false, null or an object with one "
                f"operator, not {_kind(element)}",
            )

    def _values(self) -> Values:
        return Values(**{kind: frozenset(members) for kind, members in self._sets.items()})

    def _add_exactly(self, operand: object, path: Path) -> None:
        self._sets["strings"].add(_text(operand, path))

    def _add_prefix(self, operand: object, path: Path) -> None:
        self._add_affix("prefixes", operand, path)

    def _add_suffix(self, operand: object, path: Path) -> None:
        self._add_affix("suffixes", operand, path)

    def _add_affix(self, kind: str, operand: object, path: Path) -> None:
        if isinstance(operand, dict):
            operator, folded = _only_member(operand, path)
            if operator != "equals-ignore-case":
                _refuse(path, f"must be a string or equals-ignore-case, not {operator!r}")
            self._sets["folded_" + kind].add(fold(_affix(folded, (*path, operator))))
        else:
            self._sets[kind].add(_affix(operand, path))

    def _add_ignoring_case(self, operand: object, path: Path) -> None:
        self._sets["folded"].add(fold(_text(operand, path)))

    def _add_wildcard(self, operand: object, path: Path) -> None:
        pieces = _pieces(_text(operand, path), path)
        if len(pieces) == 1:
            self._sets["strings"].add(pieces[0])
        else:
            self._sets["wildcards"].add(Wildcard(pieces))

    def _add_numeric(self, operand: object, path: Path) -> None:
        if not isinstance(operand, list | tuple):
            _refuse(path, f"must be an array of operators and numbers, not {_kind(operand)}")
        if len(operand) not in (2, 4):
            _refuse(path, "must be [operator, number], once or twice")
        bounds = [
            (_comparison(operand[at], (*path, at)), _number(operand[at + 1], (*path, at + 1)))
            for at in range(0, len(operand), 2)
        ]
        if bounds[0][0] == "=" and len(bounds) == 1:
            self._sets["numbers"].add(bounds[0][1])
        else:
            self._sets["ranges"].add(_range(bounds, path))

    def _add_network(self, operand: object, path: Path) -> None:
        self._sets["networks"].add(_network(_text(operand, path), path))

    def _add_exists(self, operand: object, path: Path) -> None:
        if not isinstance(operand, bool):
            _refuse(path, f"must be true or false, not {_kind(operand)}")
        if operand:
            self._present = True
        else:
            self._absent = True

    def _add_exception(self, operand: object, path: Path) -> None:
        excepted = _Elements()
        if isinstance(operand, dict):
            operator, strings = _only_member(operand, path)
            read = self._exceptional.get(operator)
            if read is None:
                known = ", ".join(sorted(self._exceptional))
                _refuse(path, f"has the unknown operator {operator!r}; there are {known}")
            for member, at in _members(strings, (*path, operator)):
                text = _text(member, at)
                if not text and operator in {"prefix", "suffix"}:
                    _refuse(at, "must not be empty: each string begins and ends with nothing")
                read(excepted, text, at)
        else:
            kinds = set()
            for member, at in _members(operand, path):
                if isinstance(member, dict | bool) or not isinstance(member, str | int | float):
                    _refuse(at, f"must be a string or a number, not {_kind(member)}")
                excepted.add(member, at)
                kinds.add(isinstance(member, str))
            if len(kinds) > 1:
                _refuse(path, "must be all strings or all numbers")
        self._exceptions.append(excepted._values())

    _operators: Final[dict[str, Callable[[_Elements, object, Path], None]]] = {
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
    _exceptional: Final[dict[str, Callable[[_Elements, object, Path], None]]] = {
        "prefix": _add_prefix,
        "suffix": _add_suffix,
        "equals-ignore-case": _add_ignoring_case,
        "wildcard": _add_wildcard,
    }


# The operands ---------------------------------------------------------------------------------


def _affix(operand: object, path: Path) -> str:
    text = _text(operand, path)
    if len(text) > MAX_AFFIX:
        _refuse(path, f"is longer than MAX_AFFIX = {MAX_AFFIX} characters")
    return text


def _pieces(wildcard: str, path: Path) -> tuple[str, ...]:
    """Return the literals around the ``*`` of a wildcard, their escapes resolved."""
    pieces = [""]
    characters = iter(wildcard)
    previous = ""
    for character in characters:
        if character == "*":
            if previous == "*":
                _refuse(path, "has ** in it: one * is any run of characters already")
            pieces.append("")
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in {"*", "\\"}:
                _refuse(path, f"has the invalid escape {character + escaped!r}")
            pieces[-1] += escaped
        else:
            pieces[-1] += character
        previous = character
    if len(pieces) > MAX_WILDCARDS + 1:
        _refuse(path, f"has more than MAX_WILDCARDS = {MAX_WILDCARDS} wildcards")
    return tuple(pieces)


def _comparison(operand: object, path: Path) -> str:
    if operand not in ("=", "<", "<=", ">", ">="):
        _refuse(path, f"must be one of =, <, <=, > and >=, not {_kind(operand)}")
    return str(operand)


def _range(bounds: list[tuple[str, Number]], path: Path) -> Range:
    if len(bounds) == 1:
        ((operator, bound),) = bounds
        if operator in {">", ">="}:
            return Range(lower=bound, with_lower=operator == ">=")
        return Range(upper=bound, with_upper=operator == "<=")
    (lower_operator, lower), (upper_operator, upper) = bounds
    if lower_operator not in {">", ">="}:
        _refuse((*path, 0), "must be > or >= where two bounds are given")
    if upper_operator not in {"<", "<="}:
        _refuse((*path, 2), "must be < or <= as the second of two bounds")
    if not lower < upper:
        _refuse(path, "must have a lower bound that is less than the upper one")
    return Range(lower, upper, with_lower=lower_operator == ">=", with_upper=upper_operator == "<=")


def _network(text: str, path: Path) -> Network:
    address, slash, length = text.partition("/")
    # ip_network reads more than CIDR: addresses without a length, net masks, zones.
    if slash and length.isascii() and length.isdecimal() and "%" not in address:
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            pass
    return _refuse(path, "must be a block of IP addresses, such as 10.0.0.0/8 or 2001:db8::/32")


def _number(operand: object, path: Path) -> Number:
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        _refuse(path, f"must be a number, not {_kind(operand)}")
    if isinstance(operand, int):
        if abs(operand) >= MAX_INTEGER:
            _refuse(path, "is an integer beyond MAX_INTEGER = 2**1024")
        return int(operand)
    if not isfinite(operand):
        _refuse(path, "must be a finite number")
    return float(operand)


def _text(operand: object, path: Path) -> str:
    if not isinstance(operand, str):
        _refuse(path, f"must be a string, not {_kind(operand)}")
    text = str.__str__(operand)  # an enum's value; str() would give its name
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(path, "holds a lone surrogate, which no JSON text can")
    return text


def _field_name(key: object, path: Path) -> str:
    if not isinstance(key, str):
        _refuse(path, f"must have strings for field names, not {_kind(key)}")
    return _text(key, path)


def _only_member(element: dict[object, object], path: Path) -> tuple[str, object]:
    if len(element) != 1:
        _refuse(path, f"must have one operator, not {len(element)}")
    ((operator, operand),) = element.items()
    return _field_name(operator, path), operand


def _members(operand: object, path: Path) -> list[tuple[object, Path]]:
    """Return the members of a list with their paths; those of a list of one for anything else."""
    if not isinstance(operand, list | tuple):
        return [(operand, path)]
    _check_length(operand, path)
    return [(member, (*path, index)) for index, member in enumerate(operand)]


def _check_length(array: list[object] | tuple[object, ...], path: Path) -> None:
    if not array:
        _refuse(path, "must have an element: an empty array matches nothing")
    if len(array) > MAX_ELEMENTS:
        _refuse(path, f"has more than MAX_ELEMENTS = {MAX_ELEMENTS} elements")


def _combinations(node: Fields) -> int:
    below = prod(_combinations(child) for _, child in node.fields if isinstance(child, Fields))
    return below * (sum(map(_combinations, node.alternatives)) if node.alternatives else 1)


def _canonical(document: object) -> str:
    """Return checked JSON values as text that is the same for ``5``, ``5.0`` and ``5e0``."""

    def by_value(text: str) -> Number:
        number = float(text)
        return int(number) if number.is_integer() else number

    return json.dumps(json.loads(json.dumps(document), parse_float=by_value))


def _kind(value: object) -> str:
    """Return what `value` is in JSON's words; for errors."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_KINDS: Final = (
    (str, "a string"),
    ((int, float), "a number"),
    (dict, "an object"),
    ((list, tuple), "an array"),
)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise InvalidBinding(reason, path_text(path))
