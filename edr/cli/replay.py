"""``edr replay``: emits recorded events again, with the time between them.

An event keeps its id, node and timestamp, so that idempotent handlers recognise the repetition.
With ``--as-new`` the process sets them, as for an event that happens now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from edr.cli.emitting import emit_one, unfinished
from edr.cli.event_input import read_events
from edr.cli.event_lines import EventLines
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import FilterFlags
from edr.cli.input_thread import in_thread
from edr.cli.output import Output, OutputFlags
from edr.cli.process import attach, run
from edr.cli.units import counted
from edr.errors import InvalidEventError, shown

SET_BY_THE_BUS = ("id", "node", "timestamp", "traceparent")


def replay(
    source: Annotated[
        str,
        Parameter(
            "FILE|JOURNAL|-",
            help="a file with one event in each line, the folder of a journal, or - for standard "
            "input",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    to: Annotated[
        str | None, Parameter(help="the process that emits them", metavar="PROCESS")
    ] = None,
    speed: Annotated[
        str, Parameter(help="a multiple of the recorded speed, such as 10x, or max")
    ] = "1x",
    as_new: Annotated[
        bool,
        Parameter(help="with a new id and timestamp, and the node of the process", negative=()),
    ] = False,
    count: Annotated[int | None, Parameter(help="end after N events")] = None,
    dry_run: Annotated[
        bool, Parameter(help="print the events at their times, and do not emit them", negative=())
    ] = False,
    filters: FilterFlags = FilterFlags(),
    output: OutputFlags = OutputFlags(),
) -> None:
    """Emit recorded events again, with the time between them.

    The process must permit it: expose(allow={"emit"}). Lines are those of edr tail or edr journal
    read, or events as JSON; gaps are skipped. It stops at the first line that is not an event.
    """
    if to is None and not dry_run:
        raise CommandError(Exit.USAGE, "the process must be given: --to PROCESS; or use --dry-run")
    if count is not None and count < 0:
        raise CommandError(Exit.USAGE, f"--count must be 0 or more, got {count}")
    events = islice(_events(source, filters), count)
    replaying = _Replaying(_Pace(_factor(speed)), Output(output), as_new=as_new)
    run(replaying.print(events) if dry_run else replaying.emit(to, events))


def _factor(speed: str) -> float | None:
    """Return by how much to divide times; ``None`` for no pauses."""
    if speed == "max":
        return None
    try:
        factor = float(speed.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise CommandError(
            Exit.USAGE,
            f"--speed must be a multiple such as 10x or 0.5x, or max, got {shown(speed)}",
        )
    return factor


def _events(source: str, filters: FilterFlags) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events that pass the filter, each with its place."""
    if source != "-" and Path(source).is_dir():
        yield from _stored(source, filters)
        return
    matches = _matcher(filters)
    for place, line in read_events(source):
        event = line["event"] if isinstance(line.get("event"), dict) else line
        if matches(place, event):
            yield place, event


def _stored(path: str, filters: FilterFlags) -> Iterator[tuple[str, dict[str, Any]]]:
    from edr.cli.journal import bindings_in, reading  # noqa: PLC0415 - loads pydantic
    from edr.journal import Entry, JournalFiles  # noqa: PLC0415

    with reading(Path(path)), JournalFiles(path) as files:
        for item in files.entries(*bindings_in(filters)):
            if isinstance(item, Entry):
                yield f"position {item.position}", orjson.loads(item.event.to_json())


def _matcher(filters: FilterFlags) -> Any:
    """Return a function that tells whether an event passes the filter."""
    if filters == FilterFlags():
        return lambda place, event: True  # noqa: ARG005
    from edr.cli.journal import bindings_in  # noqa: PLC0415 - loads pydantic
    from edr.records import Event  # noqa: PLC0415

    bindings = bindings_in(filters)

    def matches(place: str, document: dict[str, Any]) -> bool:
        try:
            event = Event.model_validate({"node": "-", **document})
        except InvalidEventError as exc:
            raise CommandError(Exit.BAD_INPUT, f"{place}: {exc}") from None
        return any(binding.matches(event) for binding in bindings)

    return matches


class _Pace:
    """Waits until it is the time of an event."""

    def __init__(self, factor: float | None) -> None:
        self._factor = factor
        self._first: datetime | None = None
        self._started = 0.0

    async def wait_for(self, event: dict[str, Any]) -> None:
        """Wait until as much time has passed since the first event as between the two.

        An event without a time, or with an earlier one than the event before, does not wait.
        """
        time = _time(event)
        if self._factor is None or time is None:
            return
        now = asyncio.get_running_loop().time()
        if self._first is None:
            self._first, self._started = time, now
            return
        due = self._started + (time - self._first).total_seconds() / self._factor
        if due > now:
            await asyncio.sleep(due - now)


def _time(event: dict[str, Any]) -> datetime | None:
    try:
        time = datetime.fromisoformat(event["timestamp"])
    except (KeyError, TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else None


class _Replaying:
    """Emits or prints events in their time, and counts them."""

    def __init__(self, pace: _Pace, output: Output, *, as_new: bool) -> None:
        self._pace = pace
        self._output = output
        self._as_new = as_new
        self._emitted = 0
        self._matched = 0

    async def print(self, events: Iterator[tuple[str, dict[str, Any]]]) -> None:
        lines = EventLines(self._output)
        async for _, event in in_thread(events):
            await self._pace.wait_for(event)
            lines.event(self._new(event))
            self._output.flush()
        self._output.message(f"{counted(lines.shown, 'event')} not emitted (--dry-run)")

    async def emit(self, to: str | None, events: Iterator[tuple[str, dict[str, Any]]]) -> None:
        try:
            async with attach(to) as client:
                async for place, event in in_thread(events):
                    await self._pace.wait_for(event)
                    answer = await emit_one(client, place, self._new(event))
                    self._emitted += 1
                    self._matched += answer["matched"]
        except BaseException as exc:
            self._output.message(f"{counted(self._emitted, 'event')} emitted before this")
            if error := unfinished(exc, self._emitted):
                raise error from exc
            raise
        if self._output.form == "text":
            self._output.text((f"{counted(self._emitted, 'event')} emitted", ""))
        else:
            self._output.record({"emitted": self._emitted, "matched": self._matched})

    def _new(self, event: dict[str, Any]) -> dict[str, Any]:
        if not self._as_new:
            return event
        return {name: value for name, value in event.items() if name not in SET_BY_THE_BUS}
