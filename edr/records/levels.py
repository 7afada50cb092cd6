"""The two levels of an event, ordered, and as text in JSON.

``Severity`` says how bad a thing is for the service, ``Verbosity`` how deep into its workings
it leads. They are independent: an event can be ``ok`` at ``error`` verbosity.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Literal, Never, Self, TypeAlias, TypeVar

from edr.errors import did_you_mean, shown

L = TypeVar("L", bound="_Level")


class _Level(StrEnum):
    """A string enum that is ordered by definition, lowest first.

    A level equals its text, hashes like it, and can be compared with it:
    ``event.severity >= "warning"``. Text that names no level of that kind is a ``ValueError``;
    it is never compared by the alphabet.
    """

    rank: int

    def __new__(cls, text: str) -> Self:
        """Number the members in the order of their definition."""
        level = str.__new__(cls, text)
        level._value_ = text
        level.rank = len(cls.__members__)
        return level

    @classmethod
    def _missing_(cls, value: object) -> Never:
        raise ValueError(why_no_level(value, cls))

    @property
    def and_higher(self) -> tuple[Self, ...]:
        """This level and every higher one, lowest first."""
        return _and_higher(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < type(self)(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= type(self)(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > type(self)(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= type(self)(other).rank


@cache
def _and_higher(level: L) -> tuple[L, ...]:
    return tuple(type(level))[level.rank :]


class Severity(_Level):
    """How bad: ``ok < warning < critical``."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


class Verbosity(_Level):
    """How detailed: ``trace < debug < info < warn < error < fatal``."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    FATAL = "fatal"


def why_no_level(value: object, kind: type[_Level]) -> str:
    """Return why a value is not a level of this kind."""
    known = ", ".join(kind)
    other = Verbosity if kind is Severity else Severity
    if isinstance(value, str) and value in list(other):
        theirs, ours = other.__name__.lower(), kind.__name__.lower()
        return f"{value!r} is a {theirs}; a {ours} is one of {known}"
    hint = did_you_mean(value, map(str, kind)) if isinstance(value, str) else ""
    return f"must be one of {known}, got {shown(value)}{hint}"


AnySeverity: TypeAlias = Severity | Literal["ok", "warning", "critical"]
"""A severity or its name. Literals, so that a type checker finds an unknown name."""

AnyVerbosity: TypeAlias = Verbosity | Literal["trace", "debug", "info", "warn", "error", "fatal"]
"""A verbosity or its name."""
