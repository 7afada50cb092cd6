"""The filter flags of the command line, translated to binding documents.

A document is the JSON of ``edr.Binding`` and has only the fields that a flag set. This module does
not load pydantic, so a filter costs nothing until the process at the other end of the socket reads
it. Levels, names and conditions are checked here, because the flag is known here. The process
checks the rest, such as the limits of a body pattern.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import orjson
from cyclopts import Parameter

from edr.cli.exits import CommandError, Exit
from edr.errors import did_you_mean, kind_of, shown

Document: TypeAlias = dict[str, Any]
"""The JSON of one binding."""

SEVERITIES = ("ok", "warning", "critical")
VERBOSITIES = ("trace", "debug", "info", "warn", "error", "fatal")
"""The levels, lowest first. ``edr.Severity`` and ``edr.Verbosity`` would load pydantic."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_CONDITION = re.compile(
    r"(?P<path>(?:\\.|[^=<>!~?\\])*)(?P<operator>!=|>=|<=|=|>|<|~|\?)(?P<value>.*)", re.DOTALL
)
_LOWER, _UPPER = (">", ">="), ("<", "<=")
_LITERALS = {"true": True, "false": False, "null": None}
_INTEGER_LENGTH = 19
"""Characters of an integer that surely has 64 bits. A longer one is compared as a float."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FilterFlags:
    """The filter flags of a command. A command has them as one argument ``filters``."""

    severity: Annotated[
        str | None,
        Parameter(
            ("-s", "--severity"),
            metavar="LEVEL",
            help="warning: this severity and above; =warning: this one only; ok,critical: this set",
        ),
    ] = None
    verbosity: Annotated[
        str | None,
        Parameter(
            ("-v", "--verbosity"),
            metavar="LEVEL",
            help="the same three forms for the verbosity; the default is info and above",
        ),
    ] = None
    app: Annotated[
        tuple[str, ...],
        Parameter(
            ("-a", "--app"),
            metavar="NAME,…",
            help="names of apps",
            json_list=False,
            negative=(),
        ),
    ] = ()
    account: Annotated[
        tuple[str, ...],
        Parameter(
            ("-A", "--account"),
            metavar="ID,…",
            help="ids of accounts",
            json_list=False,
            negative=(),
        ),
    ] = ()
    below: Annotated[
        bool,
        Parameter("--below", help="also the accounts below those of -A", negative=()),
    ] = False
    body: Annotated[
        tuple[str, ...],
        Parameter(
            ("-b", "--body"),
            metavar="CONDITION",
            help="a condition on the body: status=paused, status!=paused, wait_time>30, "
            "queue.id=q7, name~a*z (wildcard), call_id? (present), or a pattern as JSON",
            json_list=False,
            allow_leading_hyphen=True,
            negative=(),
        ),
    ] = ()
    binding: Annotated[
        str | None,
        Parameter(
            "--binding",
            metavar="FILE|JSON|@PART",
            help="a whole binding or a list of them, in place of the flags above",
        ),
    ] = None
    print_binding: Annotated[
        bool, Parameter("--print-binding", help="print the binding and end", negative=())
    ] = False

    @property
    def part(self) -> str | None:
        """The name of the part whose bindings are used (``--binding @NAME``)."""
        if self.binding is not None and self.binding.startswith("@"):
            return self.binding[1:]
        return None

    def documents(self, part: Callable[[str], Sequence[Document]] | None = None) -> list[Document]:
        """Return the bindings that the flags describe; without a flag, the default binding.

        An event passes the filter if one of them matches it.

        Args:
            part: returns the bindings of a part, for ``--binding @NAME``.

        Raises:
            CommandError: a flag is not valid; the text names it and the correction.
        """
        if self.binding is None:
            return [self._document()]
        if replace(self, binding=None, print_binding=False) != FilterFlags():
            raise _usage(
                "--binding is a whole binding and cannot be combined with other filter flags; "
                "print it with --print-binding, and add the condition to it"
            )
        if self.part is None:
            return _whole_binding(self.binding)
        if not self.part:
            raise _usage("--binding @NAME must name a part, such as @alarms")
        if part is None:
            raise _usage("--binding @NAME works only with a running process")
        return list(part(self.part))

    def _document(self) -> Document:
        document: Document = {}
        if self.account:
            document["account_id"] = _names("-A", self.account)
        if self.below:
            if not self.account or document["account_id"] == "*":
                raise _usage("--below must have an account: -A ACCOUNT --below")
            document["include_descendants"] = True
        if self.app:
            document["app_name"] = _names("-a", self.app)
        if self.severity is not None:
            document |= _levels("-s", "severity", self.severity, SEVERITIES)
        if self.verbosity is not None:
            document |= _levels("-v", "verbosity", self.verbosity, VERBOSITIES)
        if self.body:
            document["body"] = _body(self.body)
        return document


def _levels(flag: str, field: str, text: str, known: Sequence[str]) -> Document:
    exact = text.startswith("=")
    levels = [level.strip() for level in text.removeprefix("=").split(",")]
    for level in levels:
        if level not in known:
            raise _usage(
                f"{flag} must be one of {', '.join(known)}, got {shown(level)}"
                f"{did_you_mean(level.lower(), known)}"
            )
    if len(levels) > 1:
        return {field: sorted(set(levels), key=known.index)}
    return {field: levels[0], **({f"exact_{field}": True} if exact else {})}


def _names(flag: str, texts: Iterable[str]) -> str | list[str]:
    names = list(dict.fromkeys(name.strip() for text in texts for name in text.split(",")))
    if "" in names:
        raise _usage(f"{flag} must be non-empty names with a comma between them, got an empty name")
    if "*" in names and len(names) > 1:
        raise _usage(f'{flag} must be "*" for all or a list of names, got both')
    return names[0] if len(names) == 1 else names


def _whole_binding(text: str) -> list[Document]:
    where = "--binding"
    if not text.lstrip().startswith(("{", "[")):
        where = f"--binding {text}"
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise CommandError(
                Exit.BAD_INPUT,
                f"{where}: {reason}; give a file, JSON, or @NAME for the binding of a part",
            ) from None
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{where}: must be JSON: {exc}") from None
    documents = document if isinstance(document, list) else [document]
    if not documents:
        raise CommandError(Exit.BAD_INPUT, f"{where}: must have at least one binding, got []")
    for index, each in enumerate(documents):
        if not isinstance(each, dict):
            place = f"{where}: [{index}]" if isinstance(document, list) else where
            raise CommandError(Exit.BAD_INPUT, f"{place} must be an object, got {kind_of(each)}")
    return documents


def _body(conditions: Sequence[str]) -> Document:
    """Return the pattern of which every condition must match."""
    pattern: Document = {}
    leaves: dict[tuple[str, ...], _Leaf] = {}
    for text in conditions:
        if text.lstrip().startswith("{"):
            _merge(pattern, _json_pattern(text), text)
            continue
        path, operator, value = _parsed(text)
        leaves.setdefault(path, _Leaf()).add(operator, value, text)
    for path, leaf in leaves.items():
        nested: Any = leaf.elements()
        for name in reversed(path):
            nested = {name: nested}
        _merge(pattern, nested, leaf.texts[-1])
    return pattern


def _json_pattern(text: str) -> Document:
    try:
        pattern = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise _usage(f"-b {shown(text)} must be a JSON object: {exc}") from None
    assert isinstance(pattern, dict)  # it starts with a brace
    return pattern


def _parsed(text: str) -> tuple[tuple[str, ...], str, str]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise _usage(
            f"-b {shown(text)} must have an operator: "
            "field=value, field!=value, field>5, field~a*z or field?"
        )
    names = re.findall(r"(?:^|\.)((?:\\.|[^.\\])*)", match["path"])
    path = tuple(re.sub(r"\\(.)", r"\1", name) for name in names)
    if "" in path:
        raise _usage(
            f"-b {shown(text)} must start with the name of a field, such as status=paused "
            "or queue.id=q7"
        )
    if match["operator"] == "?" and match["value"]:
        raise _usage(f"-b {shown(text)} must end after '?', which means that the field is present")
    return path, match["operator"], match["value"]


class _Leaf:
    """The conditions on one field."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._any_of: list[Any] = []
        self._other_than: list[Any] = []
        self._bounds: dict[str, int | float] = {}

    def add(self, operator: str, value: str, text: str) -> None:
        self.texts.append(text)
        if operator == "=":
            self._any_of += _values(value)
        elif operator == "~":
            # EventBridge refuses two asterisks in a row. They mean the same as one.
            self._any_of.append({"wildcard": re.sub(r"(?<!\\)\*+", "*", value)})
        elif operator == "!=":
            self._other_than.append(_excluded(value, text))
            if len({isinstance(each, str) for each in self._other_than}) > 1:
                raise self._conflict("excludes a number and a text")
        elif operator in _LOWER + _UPPER:
            side = _LOWER if operator in _LOWER else _UPPER
            if any(bound in self._bounds for bound in side):
                raise self._conflict("has two bounds on the same side")
            self._bounds[operator] = _number(value, text)
        if sum(map(bool, (self._any_of, self._other_than, self._bounds))) > 1:
            raise self._conflict("has conditions of two kinds")

    def elements(self) -> list[Any]:
        if self._any_of:
            return self._any_of
        if self._other_than:
            return [{"anything-but": self._other_than}]
        if self._bounds:
            lowest_first = sorted(self._bounds.items(), key=lambda bound: bound[0][0], reverse=True)
            return [{"numeric": [each for bound in lowest_first for each in bound]}]
        return [{"exists": True}]

    def _conflict(self, fault: str) -> CommandError:
        return _usage(
            f"-b {shown(self.texts[-1])}: the field {fault}, also {shown(self.texts[-2])}; "
            "write them as one JSON pattern: -b '{…}'"
        )


def _values(text: str) -> list[Any]:
    """Return the values that ``text`` can mean: body patterns distinguish ``30`` from ``"30"``."""
    if text in _LITERALS:
        return [_LITERALS[text], text]
    if (number := _as_number(text)) is not None:
        return [number, text]
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return [orjson.loads(text)]
        except orjson.JSONDecodeError as exc:
            raise _usage(f"-b: {shown(text)} must be a JSON string in its quotes: {exc}") from None
    return [text]


def _excluded(value: str, text: str) -> Any:
    """Return the one value that ``anything-but`` excludes: its list has one type."""
    excluded = _values(value)[0]
    if excluded is None or isinstance(excluded, bool):
        raise _usage(
            f"-b {shown(text)} must exclude a text or a number, got {value}; "
            f"compare with = instead, or exclude the text with !='\"{value}\"'"
        )
    return excluded


def _number(value: str, text: str) -> int | float:
    number = _as_number(value)
    if number is None:
        raise _usage(f"-b {shown(text)} must compare with a number, got {shown(value)}")
    return number


def _as_number(text: str) -> int | float | None:
    """Return the number that ``text`` is in JSON, if a body can have it."""
    if not _JSON_NUMBER.fullmatch(text):
        return None
    if len(text) <= _INTEGER_LENGTH and "." not in text and "e" not in text.lower():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


def _merge(into: Document, other: Mapping[str, Any], text: str, *path: str) -> None:
    for key, value in other.items():
        if key not in into:
            into[key] = value
        elif isinstance(into[key], dict) and isinstance(value, dict):
            _merge(into[key], value, text, *path, key)
        else:
            raise _usage(
                f"-b {shown(text)}: the field {'.'.join((*path, key))!r} has another condition "
                "already; write both as one JSON pattern: -b '{…}'"
            )


def _usage(reason: str) -> CommandError:
    return CommandError(Exit.USAGE, reason)
