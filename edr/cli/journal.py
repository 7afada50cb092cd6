"""``edr journal``: look into the folder of a journal, also while its owner writes to it.

Everything but ``forget`` reads the files without a lock and without a change. ``forget`` opens the
journal; while another process has it open, that process is asked through its control socket.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import orjson
from cyclopts import App, Parameter

from edr.cli.cells import padded, width_of
from edr.cli.event_lines import EventLines
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import FilterFlags
from edr.cli.output import Output, OutputFlags
from edr.control.client import Client, connect
from edr.control.finding import find
from edr.errors import shown
from edr.journal import Entry, JournalFiles, JournalInUseError, Lost, SqliteJournal
from edr.records import Binding

journal: App = App(
    name="journal", help="Look into the folder of a journal, also while it is in use."
)

AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Seconds of each unit of an age."""


def time_of(_: object, tokens: Sequence[Any]) -> datetime:
    """Return the time that a word means: an ISO time, or an age such as ``90``, ``15m``, ``2d``."""
    text = tokens[0].value
    try:
        if match := AGE.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=float(match[1]) * UNITS[match[2]])
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is not None else time.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"must be a time such as 2026-01-31T12:00, or an age such as 90, 15m, 2h or 3d, "
            f"got {shown(text)}"
        ) from None


Folder: TypeAlias = Annotated[Path, Parameter("PATH", help="the folder of the journal")]


@journal.command
def ls(path: Folder, /, *, output: OutputFlags | None = None) -> None:
    """Print a summary: entries, positions, times, size and consumers."""
    out = Output(output)
    with reading(path), JournalFiles(path) as files:
        summary = files.summary()
    if out.form != "text":
        out.record({"path": str(path), **_plain(summary._asdict())})
        return
    size = f"{summary.bytes:,}"
    if summary.entries:
        size += f", {summary.bytes / summary.entries:,.0f} an entry"
    fields = [
        ("id", summary.id or "unknown, as the journal is damaged"),
        ("entries", f"{summary.entries:,}"),
        ("positions", f"{summary.first:,} to {summary.last:,}"),
        ("recorded", f"{_time(out, summary.since)} to {_time(out, summary.until)}"),
        ("bytes", size),
        ("consumers", ", ".join(summary.consumers) or "none"),
    ]
    for name, text in fields:
        if summary.last or name not in {"positions", "recorded"}:
            _field(out, name, text)


@journal.command
def read(
    path: Folder,
    /,
    *,
    after: Annotated[
        int | None, Parameter(help="only entries after this position", metavar="POSITION")
    ] = None,
    since: Annotated[
        datetime | None,
        Parameter(
            help="only entries since this time, or since an age such as 90, 15m, 2h or 3d",
            metavar="TIME|AGE",
            converter=time_of,
        ),
    ] = None,
    last: Annotated[
        int | None, Parameter(("-n", "--last"), help="only the newest N entries", metavar="N")
    ] = None,
    follow: Annotated[
        bool, Parameter(("-f", "--follow"), help="then print new entries", negative=())
    ] = False,
    count: Annotated[int | None, Parameter(help="end after N entries", metavar="N")] = None,
    filters: FilterFlags | None = None,
    output: OutputFlags | None = None,
) -> None:
    """Print the entries that pass the filter; without a filter flag, every entry.

    JSON lines have ``position``, ``recorded_at`` and ``event``.
    """
    for name, number in (("--after", after), ("--last", last), ("--count", count)):
        if number is not None and number < 0:
            raise CommandError(Exit.USAGE, f"{name} must be 0 or more, got {number}")
    out = Output(output)
    lines = _EntryLines(out, count)
    bindings = bindings_in(filters)
    with reading(path), JournalFiles(path) as files:
        if not follow:
            lines.write(files.entries(*bindings, after=after or 0, since=since, last=last))
            return
        if after is None and since is None and last is None:
            after = 0  # all entries, then new ones
        items = files.follow(*bindings, after=after, since=since, last=last)
        try:
            asyncio.run(lines.follow(items))
        finally:
            out.message(lines.summary())


@journal.command
def verify(path: Folder, /, *, output: OutputFlags | None = None) -> Exit:
    """Check everything in a journal, and print its damage. Exit code 1 if it is damaged."""
    out = Output(output)
    with reading(path), JournalFiles(path) as files:
        report = files.verify()
    code = Exit.NO if report.is_damaged else Exit.DONE
    if out.form != "text":
        ranges = [{"first": a, "last": b, "lost": count} for a, b, count in report.damaged]
        out.record(
            {
                "path": str(path),
                "sound": report.sound,
                "damaged": ranges,
                "needs_salvage": report.needs_salvage,
            }
        )
        return code
    if report.needs_salvage:
        _field(out, "damaged", "the database; it is salvaged when the journal is opened")
    for first, last, lost in report.damaged:
        _field(out, "damaged", f"{lost:,} entries at positions {first:,} to {last:,} are lost")
    name = "can be saved" if report.is_damaged else "sound"
    _field(out, name, f"{report.sound:,} entries")
    return code


@journal.command
def consumers(path: Folder, /, *, output: OutputFlags | None = None) -> None:
    """Print the named consumers of a journal and their positions."""
    out = Output(output)
    with reading(path), JournalFiles(path) as files:
        found = files.consumers()
    if out.form != "text":
        for each in found:
            out.record({**_plain(each._asdict()), "bindings": json.loads(each.bindings or "[]")})
        return
    rows = [("name", "position", "behind", "unacked", "missed", "last ack")]
    rows += [
        (
            each.name,
            f"{each.position:,}",
            f"{each.lag:,}",
            f"{each.unacked:,}",
            f"{each.missed:,}",
            "never" if each.last_ack is None else _time(out, each.last_ack),
        )
        for each in found
    ]
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [padded(cell, width) for cell, width in zip(row, widths, strict=True)]
        out.text(("  ".join(cells).rstrip(), "bold" if number == 0 else ""))


@journal.command
def copy(
    path: Folder,
    to: Annotated[Path, Parameter("TARGET", help="the new folder")],
    /,
    *,
    output: OutputFlags | None = None,
) -> None:
    """Copy a journal as of one moment, for a backup; also while it is in use."""
    out = Output(output)
    with reading(path), JournalFiles(path) as files:
        files.copy(to)
    out.message(f"{path} copied to {to}")


@journal.command
def forget(
    path: Folder,
    consumer: Annotated[str, Parameter("CONSUMER", help="the name of the consumer")],
    /,
    *,
    output: OutputFlags | None = None,
) -> None:
    """Delete a named consumer and its position, so that its entries are no longer kept for it.

    While a process has the journal open, it must be exposed and permit it: allow={"sinks"}.
    """
    out = Output(output)
    with reading(path):
        asyncio.run(_forget(path, consumer))
    out.message(f"consumer {shown(consumer)} of {path} was deleted")


async def _forget(path: Path, consumer: str) -> None:

    with JournalFiles(path) as files:  # opening another folder would make a journal there
        names = files.summary().consumers
    if consumer not in names:
        known = ", ".join(map(shown, names)) or "none"
        raise CommandError(
            Exit.BAD_INPUT, f"{path} has no consumer {shown(consumer)}; its consumers: {known}"
        )
    try:
        async with SqliteJournal(path) as opened:
            await opened.forget(consumer)
    except JournalInUseError:
        await _forget_in_owner(path, consumer)


async def _forget_in_owner(path: Path, consumer: str) -> None:
    """Ask the process that has the journal open."""
    async for client in _owners(path):
        await client.ask("forget", consumer=consumer)
        return
    raise CommandError(
        Exit.UNAVAILABLE,
        f"{path} is open in process {_lock(path).get('pid', '?')}, which is not exposed; "
        "expose it with allow={'sinks'}, or end it",
    )


async def _owners(path: Path) -> AsyncIterator[Client]:
    """Yield a client of each exposed bus that has the journal open."""
    lock = _lock(path)
    for found in await asyncio.to_thread(find, str(lock.get("pid"))):
        async with connect(found.path) as client:
            state = await client.ask("statistics")
            if (state.get("journal") or {}).get("id") == lock.get("id"):
                yield client


def _lock(path: Path) -> dict[str, Any]:
    """Return the id of the journal and of its owner, from its lock file."""
    with suppress(OSError, ValueError):
        fields = json.loads((path / "lock").read_bytes())
        if isinstance(fields, dict):
            return fields
    return {}


# Inner parts


def bindings_in(filters: FilterFlags | None) -> list[Binding]:
    """Return the bindings that the flags describe. The list is empty without a flag."""
    if filters is None or filters == FilterFlags():
        return []
    return [Binding.model_validate(document) for document in filters.documents()]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Report a failed access to the files with the path, as an error of the command."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{path}: {exc.strerror or exc}") from exc


class _EntryLines:
    """Writes entries and losses, until ``count`` entries were written."""

    def __init__(self, output: Output, count: int | None) -> None:
        self._output = output
        self._count = count
        self._lines = EventLines(output)
        self._shown = 0
        self._lost = 0

    def write(self, items: Iterable[Entry | Lost]) -> None:
        if not self._is_done:
            for item in items:
                self._write(item)
                if self._is_done:
                    return

    async def follow(self, items: AsyncGenerator[Entry | Lost, None]) -> None:
        async with aclosing(items):
            if not self._is_done:
                async for item in items:
                    self._write(item)
                    self._output.flush()
                    if self._is_done:
                        return

    @property
    def _is_done(self) -> bool:
        return self._shown == self._count

    def _write(self, item: Entry | Lost) -> None:
        if isinstance(item, Entry):
            self._entry(item)
        else:
            self._gap(item)

    def _entry(self, entry: Entry) -> None:
        self._shown += 1
        if self._output.form != "json":
            self._lines.event(json.loads(entry.event.to_json()))
            return
        self._output.record(
            {
                "position": entry.position,
                "recorded_at": entry.recorded_at.isoformat(),
                "event": orjson.Fragment(entry.event.to_json()),
            }
        )

    def _gap(self, lost: Lost) -> None:
        self._lost += lost.missed
        reason = "damage" if lost.is_damage else "retention"
        if self._output.form != "json":
            self._lines.gap(lost.missed, reason)
            return
        self._output.record(
            {"is": "gap", "position": lost.position, "missed": lost.missed, "reason": reason}
        )

    def summary(self) -> str:
        return f"{self._shown:,} shown, {self._lost:,} lost"


def _field(output: Output, name: str, text: str) -> None:
    output.text((f"{name:<13} ", "dim"), (text, ""))


def _time(output: Output, time: datetime | None) -> str:
    if time is None:
        return "never"
    local = time.astimezone(UTC if output.utc else None)
    return f"{local:%Y-%m-%d %H:%M:%S%z}"


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return ``fields`` with times as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
