"""What a pattern says that its writer probably did not mean. Nothing here is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from edr.errors import join_path
from edr.records.pattern.leaf import OR
from edr.records.pattern.operands import Path
from edr.records.pattern.parser import OPERATORS


class PatternWarning(NamedTuple):
    """Something legal that is seldom meant.

    Attributes:
        path: Where in the pattern: ``body.status.prefix``.
        reason: What it asks for as it stands, and how to write what was probably meant.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def warnings_of(document: dict[str, Any]) -> tuple[PatternWarning, ...]:
    """Return what is seldom meant in a pattern that has been checked, in its order."""
    return tuple(
        PatternWarning(join_path(*path), reason) for path, reason in _of_fields(document, ("body",))
    )


def _of_fields(document: dict[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
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


def _of_leaf(elements: list[Any], path: Path) -> Iterator[tuple[Path, str]]:
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
