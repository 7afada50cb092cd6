"""``edr top``: the rates, backlogs and losses of a running process, as a live table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from edr.cli.cells import without_last_space
from edr.cli.exits import CommandError, Exit
from edr.cli.output import Output, OutputFlags
from edr.cli.process import ProcessName, attach, run
from edr.cli.screen import Screen
from edr.cli.top_rows import SORT_KEYS, Samples
from edr.cli.top_view import ASCII_BARS, Symbols, view
from edr.control.errors import ConnectionLostError

LIMIT = 500
"""Subscriptions that the process sends in a sample; it counts the others."""

PLAIN_WIDTH = 160
"""Cells of a line that does not go to a terminal."""

EVERY = (0.2, 3600.0)
"""Seconds between samples, at least and at most."""


def top(
    process: ProcessName = None,
    /,
    *,
    every: Annotated[float, Parameter(help="seconds between samples")] = 1.0,
    count: Annotated[int | None, Parameter(help="end after N samples")] = None,
    sort: Annotated[
        Literal["in", "backlog", "oldest", "delivered", "lost", "name"],
        Parameter(help="the order of the rows; those with trouble always come first"),
    ] = "in",
    output: OutputFlags = OutputFlags(),
) -> None:
    """Show what a process does, as a live table: rates, backlogs, losses and states.

    Rows with trouble come first. The keys i, b, o, d, l and n change the order, and q quits. In a
    pipe it prints one JSON object for each sample, with -o text the table.
    """
    if not EVERY[0] <= every <= EVERY[1]:
        raise CommandError(
            Exit.USAGE, f"--every must be {EVERY[0]:g} to {EVERY[1]:g} seconds, got {every:g}"
        )
    if count is not None and count < 1:
        raise CommandError(Exit.USAGE, f"--count must be 1 or more, got {count}")
    out = Output(output)
    if out.form == "text" and out.terminal:
        run(_live(process, every, count, sort, out))
    else:
        run(_printed(process, every, count, sort, out))


async def _samples(client: Any, every: float, count: int | None) -> AsyncIterator[dict[str, Any]]:
    """Yield the samples, ``count`` at most.

    Raises:
        ConnectionLostError: the process has ended.
    """
    left = count
    async with client.request("top", every=every, limit=LIMIT) as messages:
        async for message in messages:
            if message["is"] == "top":
                yield message
                if left is not None:
                    left -= 1
                    if not left:
                        return
    raise ConnectionLostError(f"{_title(client)} has ended")


def _title(client: Any) -> str:
    return f"{client.hello['bus']}@{client.hello['node']}"


async def _printed(
    process: str | None, every: float, count: int | None, by: str, out: Output
) -> None:
    samples = Samples()
    number = 0
    async with attach(process) as client:
        async for message in _samples(client, every, count):
            samples.add(message)
            if out.form == "text":
                if number:
                    out.text()
                for line in view(
                    samples,
                    title=_title(client),
                    by=by,
                    width=out.width or PLAIN_WIDTH,
                    height=None,
                    symbols=_symbols(out),
                ):
                    out.text(*without_last_space(line))
            else:
                out.record(_record(samples))
            number += 1
            out.flush()


def _record(samples: Samples) -> dict[str, Any]:
    """Return a sample with the rates that the table shows."""
    rates = {(row.kind, row.name): row.rate for row in samples.rows}
    message = {key: value for key, value in samples.message.items() if key not in {"id", "is"}}
    subscriptions = [
        {**each, "in_per_second": _rounded(row.rate)}
        for each, row in zip(message["subscriptions"], samples.rows, strict=False)
    ]
    parts = [
        {**each, "in_per_second": _rounded(rates.get((each["kind"], each["name"])))}
        for each in message["parts"]
    ]
    return {
        **message,
        "emits_per_second": _rounded(samples.rate),
        "subscriptions": subscriptions,
        "parts": parts,
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


async def _live(process: str | None, every: float, count: int | None, by: str, out: Output) -> None:
    async with attach(process) as client:
        table = _LiveTable(_title(client), by, _symbols(out))
        with Screen(table.on_key, table.show) as table.screen:
            watching = asyncio.ensure_future(table.watch(_samples(client, every, count)))
            quitting = asyncio.ensure_future(table.has_quit.wait())
            try:
                await asyncio.wait([watching, quitting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                quitting.cancel()
                watching.cancel()
                await asyncio.wait([watching])
        if not watching.cancelled():
            await watching  # raises the error that ended it, on the restored terminal


class _LiveTable:
    """The table on a screen, and the keys that change it."""

    screen: Screen

    def __init__(self, title: str, by: str, symbols: Symbols) -> None:
        self._title = title
        self._by = by
        self._symbols = symbols
        self._samples = Samples()
        self.has_quit = asyncio.Event()

    async def watch(self, messages: AsyncIterator[dict[str, Any]]) -> None:
        async for message in messages:
            self._samples.add(message)
            self.show()

    def show(self) -> None:
        if not self._samples.message:
            return
        width, height = self.screen.size
        self.screen.show(
            view(
                self._samples,
                title=self._title,
                by=self._by,
                width=width,
                height=height,
                symbols=self._symbols,
                keys=True,
            )
        )

    def on_key(self, key: str) -> None:
        if key in {"q", "Q"}:
            self.has_quit.set()
        for name in SORT_KEYS:
            if key.lower() == name[0]:
                self._by = name
                self.show()


def _symbols(out: Output) -> Symbols:
    bars = Symbols().bars if out.symbol("ellipsis") == Symbols().ellipsis else ASCII_BARS
    return Symbols(out.symbol("critical"), out.symbol("warning"), out.symbol("ellipsis"), bars)
