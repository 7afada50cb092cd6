"""``changes_between``: what a reload has to do, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from edr.app.config import Configuration, Fault, Secrets
from edr.app.config.section import Section

FIXED = (
    ("app", "name"),
    ("app", "node"),
    ("app", "data_dir"),
    ("app", "accounts"),
    ("journal",),
    ("control",),
    ("http", "listen"),
    ("http", "tokens_file"),
    ("web", "listen"),
    ("web", "behind_proxy"),
    ("web", "proxies"),
    ("web", "certificate"),
    ("web", "key"),
)
"""Settings that only a restart changes: other processes know them, or files are open."""


GATEWAY = ("gateway", "web")
"""Kind and name of the web gateway as a part."""


class Action(StrEnum):
    """The effect of a reload on one part."""

    ADDED = "added"
    REMOVED = "removed"
    REBOUND = "rebound"
    """Only its bindings are others."""
    REPLACED = "replaced"
    """Its options or its secrets are others."""


class Change(NamedTuple):
    """One part that a reload changes."""

    action: Action
    kind: str
    name: str
    old: Any
    """Its configuration before; ``None`` if it was added."""
    new: Any
    """Its configuration after; ``None`` if it was removed."""


def fixed_settings_changed(old: Configuration, new: Configuration) -> list[Fault]:
    """Return a fault for each setting that a reload cannot change."""
    faults = []
    for place in FIXED:
        if _value(old, place) != _value(new, place):
            message = "cannot be changed by a reload; restart the application to change it"
            faults.append(Fault(".".join(place), None, message))
    return faults


def _value(configuration: Any, place: tuple[str, ...]) -> object:
    value = configuration
    for key in place:
        value = None if value is None else getattr(value, key)
    return value


PartValues = Mapping[tuple[str, str], tuple[Any, tuple[str, ...]]]
"""(kind, name) -> the configuration of a part and the values of its secrets."""


def part_values(configuration: Configuration, secrets: Secrets) -> PartValues:
    """Return each enabled part with the values of its secrets.

    The web gateway is a part too.

    Raises:
        SecretError: a secret cannot be read.
    """
    parts: list[tuple[str, str, Section]] = list(configuration.parts())
    if configuration.web is not None:
        parts.append((*GATEWAY, configuration.web))
    return {(kind, name): (part, secrets.of(part)) for kind, name, part in parts}


def place_of(kind: str, name: str) -> str:
    """Return the path of a part in the configuration, such as ``sinks.audit``."""
    return "web" if (kind, name) == GATEWAY else f"{kind}s.{name}"


def changes_between(old: PartValues, new: PartValues) -> Iterator[Change]:
    """Yield the changes of the parts, in the order of the names of each kind."""
    for key in dict.fromkeys([*old, *new]):
        kind, name = key
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if before is None:
            assert after is not None
            yield Change(Action.ADDED, kind, name, None, after[0])
        elif after is None:
            yield Change(Action.REMOVED, kind, name, before[0], None)
        else:
            only_bindings = (
                kind == "sink"
                and type(before[0]) is type(after[0])
                and before[1] == after[1]
                and before[0].model_copy(update={"bindings": after[0].bindings}) == after[0]
            )
            action = Action.REBOUND if only_bindings else Action.REPLACED
            yield Change(action, kind, name, before[0], after[0])
