"""``Checked``: the type of a value of the configuration, as a function that checks it.

The function gets a value as TOML and JSON have it, and raises ``ValueError`` with the message for
the user. Pydantic's own types are not used, because their messages are written for programmers, and
because they accept ``"5"`` and ``1`` for a number and a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import core_schema

from edr.errors import kind_of, shown


@dataclass(frozen=True)
class Written:
    """Metadata of a field: its form in the file, for the documentation."""

    form: str


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Checked(Written):
    """Metadata of a field: how a value is read from a file, and how it is written into one."""

    check: Callable[[Any, ValidationInfo], Any]
    """Returns the value for the form in a file, or raises ``ValueError``."""
    write: Callable[[Any], Any] = _same
    """Returns the form in a file for a value: ``check`` returns an equal value for it."""

    def __get_pydantic_core_schema__(self, *_: object) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)


def checked(form: str, check: Callable[[Any], Any], write: Callable[[Any], Any] = _same) -> Checked:
    """Return the type whose ``check`` needs no context."""
    return Checked(form, lambda value, _: check(value), write)


def refuse(expected: str, value: object, advice: str = "") -> ValueError:
    """Return the error for a value that is not ``expected``."""
    got = shown(value) if isinstance(value, (str, int, float, bool)) else kind_of(value)
    return ValueError(f"must be {expected}, got {got}{advice}")


def any_of(options: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))
