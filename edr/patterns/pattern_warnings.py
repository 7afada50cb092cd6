"""Likely mistakes in a pattern that is valid but probably means something else."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from edr.errors import join_path
from edr.patterns.field_matcher import OR
from edr.patterns.operands import Path
from edr.patterns.parser import OPERATORS


class PatternWarning(UserWarning):
    """A likely mistake in a valid body pattern.

    Attributes:
        path: Where in the pattern: ``body.status.prefix``.
        reason: The meaning of the pattern as written, and how to write the probable intention.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def warnings_of(document: Mapping[str, Any]) -> tuple[PatternWarning, ...]:
    """Return the likely mistakes in a pattern that has been checked, in its order."""
    return tuple(
        PatternWarning(join_path(*path), reason) for path, reason in _of_fields(document, ("body",))
    )


def warn_of_mistakes(document: Mapping[str, Any]) -> None:
    """Warn of the likely mistakes in a checked pattern, at the line that called into edr."""
    for each in warnings_of(document):
        warnings.warn(each, stacklevel=_level_of_caller())


_PASSED_OVER = frozenset({"edr", "pydantic"})


def _level_of_caller() -> int:
    """Return the stack level, for the function that calls this, of the first one outside of edr."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 - warnings.warn has no other way before Python 3.12
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_OVER:
        frame = frame.f_back
        level += 1
    return level


def _of_fields(document: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    for name, below in document.items():
        here = (*path, name)
        if name == OR:
            for index, member in enumerate(below):
                yield from _of_fields(member, (*here, index))
            continue
        if name in OPERATORS and len(path) > 1:
            yield (
                here,
                (
                    f"asks for a field named {name!r}; to use the operator, put it into an array: "
                    f'[{{"{name}": …}}]'
                ),
            )
        elif name.startswith("$"):
            yield here, f"asks for a field of that name; {OR} is the only operator beside fields"
        elif "." in name:
            first, _, rest = name.partition(".")
            yield (
                here,
                (
                    f"asks for a field with a dot in its name; for one in another write "
                    f'{{"{first}": {{"{rest}": …}}}}'
                ),
            )
        if isinstance(below, dict):
            yield from _of_fields(below, here)
        else:
            yield from _of_leaf(below, here)


def _of_leaf(elements: list[Any] | tuple[Any, ...], path: Path) -> Iterator[tuple[Path, str]]:
    operators = [name for each in elements if isinstance(each, dict) for name in each]
    for index, element in enumerate(elements):
        if isinstance(element, str) and "*" in element:
            yield (
                (*path, index),
                'asks for a string with a star in it; for any characters write {"wildcard": …}',
            )
    if operators.count("anything-but") > 1:
        yield (
            path,
            (
                "has more than one anything-but, of which one is enough: nearly any value will do; "
                'for none of several write {"anything-but": ["a", "b"]}'
            ),
        )
    elif {"exists": True} in elements and len(elements) > 1:
        yield path, "accepts any value by exists, whatever else it names"
