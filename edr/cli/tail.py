"""``edr tail``: the events of a process, a broker or a journal as they are emitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from edr.cli.describe import describe
from edr.cli.event_lines import EventLines
from edr.cli.exits import CommandError, Exit, OutputClosedError
from edr.cli.filters import Document, FilterFlags
from edr.cli.output import Output, OutputFlags
from edr.cli.process import attach, bindings_of, is_path, run
from edr.cli.stdout_closed import on_stdout_closed
from edr.control.errors import ConnectionLostError

ALL = 100_000
"""Earlier events that a process sends at most."""


def tail(
    process: Annotated[
        str | None,
        Parameter(
            "SOURCE",
            help="a process, as for the other commands; or nats://HOST, amqp://HOST, or the folder "
            "of a journal, with a / in its path",
        ),
    ] = None,
    /,
    *,
    filters: FilterFlags = FilterFlags(),
    last: Annotated[
        int | None,
        Parameter(("-n", "--last"), help="begin with the last N earlier events that match"),
    ] = None,
    after: Annotated[
        str | None, Parameter("--after", help="begin after the event of this cursor")
    ] = None,
    count: Annotated[int | None, Parameter("--count", help="end after N events")] = None,
    no_follow: Annotated[
        bool,
        Parameter("--no-follow", help="end after the events that exist", negative=()),
    ] = False,
    wanted: Annotated[
        bool,
        Parameter(
            "--wanted", help="let the links of the process request these events", negative=()
        ),
    ] = False,
    output: OutputFlags = OutputFlags(),
) -> Exit | None:
    """Print events as they are emitted.

    Without a filter these are the events of verbosity info and above. Lost events are reported at
    their place. Ctrl-C ends the command.
    """
    if last is not None and after is not None:
        raise CommandError(Exit.USAGE, "--last and --after exclude each other")
    for name, number in (("--last", last), ("--count", count)):
        if number is not None and number < 0:
            raise CommandError(Exit.USAGE, f"{name} must be 0 or more, got {number}")
    out = Output(output)
    if filters.print_binding and filters.part is None:
        out.bindings(filters.documents())
        return None
    begin = Begin(last=last, after=after, follow=not no_follow)
    if process is not None and is_source(process):
        return run(_tail_source(process, filters, begin, count, out))
    return run(_tail_process(process, filters, begin, count, out, wanted=wanted))


class Begin(NamedTuple):
    """The first event, and whether new events follow the existing ones."""

    last: int | None
    after: str | None
    follow: bool


async def _tail_process(
    process: str | None,
    filters: FilterFlags,
    begin: Begin,
    count: int | None,
    out: Output,
    *,
    wanted: bool,
) -> Exit | None:
    if not begin.follow and begin.last is None and begin.after is None:
        begin = begin._replace(last=ALL)
    async with attach(process) as client:
        bindings = await bindings_of(client, filters)
        if filters.print_binding:
            out.bindings(bindings)
            return None
        title = f"{client.hello['bus']}@{client.hello['node']}"
        _header(out, title, bindings, begin)
        request = client.request("tail", bindings=bindings, wanted=wanted, **begin._asdict())
        async with request as messages:
            return await _shown(messages, title, begin, count, out)


async def _tail_source(
    target: str, filters: FilterFlags, begin: Begin, count: int | None, out: Output
) -> Exit | None:
    from edr.cli.sources import open_source  # noqa: PLC0415 - a process needs none

    bindings = filters.documents()
    async with open_source(target, bindings=bindings, **begin._asdict()) as source:
        _header(out, source.title, bindings, begin)
        return await _shown(source, source.title, begin, count, out)


def is_source(target: str) -> bool:
    """Return whether ``target`` is the address of a broker or the path of a journal."""
    return "://" in target or (is_path(target) and Path(target).is_dir())


async def _shown(
    messages: AsyncIterable[Mapping[str, Any]],
    title: str,
    begin: Begin,
    count: int | None,
    out: Output,
) -> Exit | None:
    """Show the messages, and return the exit code."""
    lines = EventLines(out)
    if await show(messages, lines, count, out) or not begin.follow:
        return None if lines.shown or count == 0 else Exit.NO
    out.message(lines.summary())
    raise CommandError(Exit.UNAVAILABLE, f"{title} has ended")


async def show(
    messages: AsyncIterable[Mapping[str, Any]], lines: EventLines, count: int | None, out: Output
) -> bool:
    """Write the events and gaps among ``messages`` until ``count`` events are written.

    When Ctrl-C or a lost connection ends it, it prints how many events were shown and lost.

    Returns:
        Whether ``count`` events were written. Otherwise ``messages`` has ended.

    Raises:
        OutputClosedError: the reader of the output has ended.
    """
    if count == 0:
        return True
    flushing = _Flushing(out)
    try:
        with on_stdout_closed(flushing.close):
            async for message in messages:
                if message["is"] == "event":
                    lines.event(message["event"])
                elif message["is"] == "gap":
                    lines.gap(message["missed"], message["reason"])
                elif message["is"] == "note":
                    out.message(message["detail"])
                if lines.shown == count:
                    return True
                flushing.schedule()
    except (asyncio.CancelledError, ConnectionLostError) as exc:
        if flushing.is_closed:
            raise OutputClosedError from None
        if isinstance(exc, ConnectionLostError):
            # An orderly end has an ``end``. This process was killed, or disconnected a client
            # that did not read. The number of events after the last line is not known.
            lines.gap(None, "cut off")
        out.message(lines.summary())
        raise
    return False


class _Flushing:
    """Flushes the output when no further message has arrived, and notices that it has closed."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.is_closed = False

    def schedule(self) -> None:
        # The loop runs only when the task waits, so a burst of events is flushed once.
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        try:
            self._out.flush()
        except OutputClosedError:
            self.close()

    def close(self) -> None:
        if not self.is_closed and self._task is not None:
            self.is_closed = True
            self._task.cancel()


def _header(out: Output, title: str, bindings: list[Document], begin: Begin) -> None:
    parts = []
    if begin.after is not None:
        parts.append(f"after {begin.after}")
    elif begin.last is not None:
        parts.append("existing events" if begin.last == ALL else f"last {begin.last:,}")
    if begin.follow:
        parts.append("live")
    dot = out.symbol("dot")
    out.note(f" {dot} ".join((title, describe(bindings), ", then ".join(parts))))
