"""``dry_run``: which recorded events each sink would receive. Nothing is sent or changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edr.app.config.links import LinkConfig
from edr.app.config.model import Configuration
from edr.app.config.sinks import SinkConfig
from edr.errors import InvalidEventError
from edr.journal import Entry, JournalFiles
from edr.patterns import Mismatch
from edr.records import EVERY_EVENT, Binding, Event, bindings_from_json
from edr.wire.parsing import json_object

DEFAULT_LAST = 1000
"""Entries of a journal that are read if no number is given."""

_JOURNAL = re.compile(r"(.+?)(?::([0-9]{1,9}))?")


class Recorded(NamedTuple):
    """Events of the past, and the bindings that were in force for them."""

    events: Iterable[Event]
    bindings: Mapping[str, Sequence[Binding]]
    """The stored bindings of each consumer of the journal; none for a file of events."""


class Trial(NamedTuple):
    """The events that one sink or sending link would receive."""

    kind: str
    """``sink`` or ``link``."""
    name: str
    events: int
    """Number of recorded events."""
    now: int | None
    """Events that match the bindings stored in the journal; None if it has none for the part."""
    new: int
    """Events that match the bindings of the configuration."""
    example: Event | None
    """The last event that only the new bindings match, else the last one that they match."""
    reason: str | None
    """If none matches: the mismatches of the nearest event."""


def recorded(target: str, configuration: Configuration) -> Recorded:
    """Return the events of a journal or of a file.

    Args:
        target: ``journal`` or ``journal:5000``: the last entries of the journal of the
            configuration, which may be in use. Else the folder of a journal, also with a number,
            or a file with one event in each line.
        configuration: has the folder of its journal.

    Raises:
        OSError: the file or folder cannot be read.
        JournalError: the folder is not a journal, or the journal is damaged.
        InvalidEventError: a line is not an event, raised when the events are read.
    """
    match = _JOURNAL.fullmatch(target)
    assert match is not None  # every text that is not empty matches
    given, last = match[1], int(match[2] or DEFAULT_LAST)
    folder = configuration.app.data_dir / "journal" if given == "journal" else Path(given)
    if given == "journal" or folder.is_dir():
        with JournalFiles(folder) as files:
            entries = files.entries(last=last)
            events = [each.event for each in entries if isinstance(each, Entry)]
            return Recorded(
                events, {each.name: _stored(each.bindings) for each in files.consumers()}
            )
    return Recorded(_lines(Path(target)), {})


def _stored(text: str) -> list[Binding]:
    documents = json.loads(text or "[]")
    if not documents:
        return [EVERY_EVENT]
    bindings = bindings_from_json(documents)
    return bindings if isinstance(bindings, list) else [bindings]


def _lines(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            # ``edr tail -o json`` writes gaps among the events.
            if not line.strip() or line.startswith(b'{"is":"gap"'):
                continue
            try:
                # A source fills in id, node and timestamp, as this does.
                yield Event.model_validate(json_object(line, "an event"), extra="ignore")
            except InvalidEventError as exc:
                raise InvalidEventError(f"{path}, line {number}: {exc}") from None


def dry_run(configuration: Configuration, past: Recorded) -> list[Trial]:
    """Return the matches of each enabled sink and sending link.

    Raises:
        InvalidEventError: as ``recorded``.
    """
    counts = [
        _Count(
            kind,
            name,
            bindings,
            past.bindings.get(f"{kind}:{name}", past.bindings.get(f"link:{name}")),
        )
        for kind, name, bindings in _deliveries(configuration)
    ]
    for event in past.events:
        for count in counts:
            count.add(event)
    return [count.trial() for count in counts]


def _deliveries(configuration: Configuration) -> Iterator[tuple[str, str, Sequence[Binding]]]:
    for kind, name, part in configuration.parts():
        if isinstance(part, SinkConfig):
            yield kind, name, part.bindings
        elif isinstance(part, LinkConfig) and part.send:
            yield kind, name, part.send


class _Count:
    """Counts the matches of one part."""

    def __init__(
        self, kind: str, name: str, new: Sequence[Binding], now: Sequence[Binding] | None
    ) -> None:
        self._names = kind, name
        self._bindings = new
        self._stored = now
        self._events = self._now = self._new = 0
        self._example: Event | None = None
        self._is_new = False
        self._nearest: tuple[Mismatch, ...] | None = None

    def add(self, event: Event) -> None:
        self._events += 1
        was = self._stored is not None and any(each.matches(event) for each in self._stored)
        self._now += was
        if any(each.matches(event) for each in self._bindings):
            self._new += 1
            if not was or not self._is_new:
                self._example, self._is_new = event, not was
        elif not self._new:
            mismatches = min((each.explain(event) for each in self._bindings), key=len)
            if self._nearest is None or len(mismatches) <= len(self._nearest):
                self._nearest = mismatches

    def trial(self) -> Trial:
        reason = None
        if not self._events:
            reason = "there is no recorded event"
        elif not self._new:
            reason = "; ".join(map(str, self._nearest or ()))
        return Trial(
            *self._names,
            self._events,
            None if self._stored is None else self._now,
            self._new,
            self._example,
            reason,
        )
