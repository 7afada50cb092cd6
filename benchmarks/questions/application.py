"""What does ``edr run`` cost per event, and how long does a reload of bindings pause a sink?

CPU of the whole process: a socket, a journal that syncs the disk, a file sink and an HTTP sink in
batches of 100, against the same by hand without a journal. Then the memory for a backlog of a
receiver that is down. Then the longest time between two requests of a sink around a reload of its
bindings, under a steady load, next to the same time without a reload.
"""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from time import monotonic

from benchmarks.application import by_hand
from benchmarks.application.load import line_of
from benchmarks.application.process import EdrRun
from benchmarks.application.receiver import Receiver
from benchmarks.harness.harness import Settings, main, noise_of, run_async
from benchmarks.harness.table import Row, Table, not_installed

COST = 1.7
"""CPU of ``edr run`` as a multiple of the same by hand without a journal."""

BACKLOG = 60_000
MEMORY = 20 * 2**20
"""Bytes that a backlog may take."""

PAUSE = 50e6
"""Nanoseconds that a reload of its bindings may pause a sink."""

CLIENTS = 4
SEND = 100
"""Events that a client sends before it waits for the answer."""

DELIVERY_TIMEOUT = 60.0
"""Seconds until a sample is delivered: far more than it takes."""

WARM_UP = 4_000
"""Events before the first sample: caches, and the blocks of the journal."""

CONFIGURATION = """
journal = {{ sync = "disk" }}
sources.in = {{ type = "socket", path = "in.sock" }}
[sinks.audit]
type = "file"
path = "audit.jsonl"
batch = {{ events = 100 }}
bindings = [{{ app_name = "load" }}]
[sinks.alarms]
type = "http"
url = "http://127.0.0.1:{port}/"
batch = {{ events = 100 }}
bindings = {bindings}
"""

BY_HAND = Path(by_hand.__file__)

AFTER = 0.05
"""Seconds after a reload in which a pause still counts as one of the reload."""

EVERY = '[{ app_name = "load" }]'
SPLIT = '[{ app_name = "load", severity = "critical" }, { app_name = "load", severity = "ok" }]'


class _Side:
    """A process that moves events, its load and its receiver."""

    def __init__(self, folder: Path, receiver: Receiver, program: EdrRun) -> None:
        self._folder = folder
        self._receiver = receiver
        self.program = program
        self._sent = 0

    async def cpu(self, count: int) -> float:
        """Send ``count`` events, wait until they are delivered, and return the CPU in seconds."""
        before = _cpu_of(self.program.pid)
        await self.send(count)
        path = self._folder / "audit.jsonl"
        async with asyncio.timeout(DELIVERY_TIMEOUT):
            while len(self._receiver.answered.numbers) < self._sent:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            while _lines_of(path) < self._sent:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        return _cpu_of(self.program.pid) - before

    async def send(self, count: int, *, size: int = SEND, pause: float = 0.0) -> None:
        """Send ``count`` events, ``size`` at a time, and wait for the answers."""
        numbers = iter(range(self._sent, self._sent + count))
        self._sent += count

        async def client() -> None:
            answers, lines = await asyncio.open_unix_connection(self._folder / "in.sock")
            while part := [line_of(number) for number in islice(numbers, size)]:
                lines.write(b"".join(part) + b"\n")
                await answers.readline()
                await asyncio.sleep(pause)
            lines.close()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def pause(self, bindings: str) -> float:
        """Reload with ``bindings``; return the longest time between two requests, in seconds."""
        moments = self._receiver.moments = []
        await asyncio.sleep(AFTER)
        start = monotonic()
        await self.program.reload(CONFIGURATION.format(port=self._receiver.port, bindings=bindings))
        await asyncio.sleep(AFTER)
        return max(b - a for a, b in pairwise(moments) if b > start)


def _cpu_of(pid: int) -> float:
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@asynccontextmanager
async def _side(*command: str | Path, port: int | None = None) -> AsyncIterator[_Side]:
    """Run a process: ``edr run``, or ``command`` with a folder and a port."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = await stack.enter_async_context(Receiver({}))
        port = port or receiver.port
        configuration = CONFIGURATION.format(port=port, bindings=EVERY)
        by_hand = (*command, folder, str(port)) if command else ()
        program = EdrRun(folder, configuration, by_hand)
        try:
            await program.running()
            side = _Side(folder, receiver, program)
            await side.send(WARM_UP)
            yield side
        finally:
            await program.end(signal.SIGTERM)


async def _cost_rows(settings: Settings) -> list[Row]:
    count = 5_000 if settings.quick else 20_000
    rounds = settings.rounds // 2
    async with _side(sys.executable, BY_HAND) as by_hand, _side() as run:
        samples = [(await by_hand.cpu(count), await run.cpu(count)) for _ in range(rounds + 1)]
    del samples[0]  # the first round warms up
    first = [one / count * 1e9 for one, _ in samples]
    second = [other / count * 1e9 for _, other in samples]
    ratios = [other / one for one, other in samples]
    return [
        Row(
            "by hand, without a journal",
            value=median(first),
            does="socket, file and HTTP",
            noise=noise_of(first),
        ),
        Row(
            "edr run",
            value=median(second),
            does="socket, journal (full sync), file and HTTP",
            ratio=median(ratios),
            noise=noise_of(ratios),
            limit=COST,
            ours=True,
        ),
    ]


async def _memory_row(settings: Settings) -> Row:
    import psutil

    backlog = BACKLOG // 4 if settings.quick else BACKLOG
    async with _side(port=_closed_port()) as run:
        process = psutil.Process(run.program.pid)
        before = process.memory_info().rss
        await run.send(backlog)
        after = process.memory_info().rss
    return Row(
        f"backlog of {backlog:,} events",
        value=float(max(0, after - before)),
        unit="B",
        does=f"the HTTP receiver is down; resident: {before / 2**20:.0f} MiB before",
        limit=MEMORY,
        ours=True,
    )


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def _pause_rows(settings: Settings) -> list[Row]:
    samples: dict[bool, list[float]] = {True: [], False: []}
    async with _side() as run:
        sending = asyncio.create_task(run.send(10**9, size=1, pause=0.001))
        bindings = EVERY
        for _ in range(settings.rounds * 2):
            for is_change in (False, True):
                if is_change:
                    bindings = SPLIT if bindings == EVERY else EVERY
                samples[is_change].append(await run.pause(bindings) * 1e9)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return [
        Row(
            what,
            value=median(samples[is_change]),
            does=f"between two requests; at most {max(samples[is_change]) / 1e6:.0f} ms",
            noise=noise_of(samples[is_change]),
            limit=limit,
            ours=is_change,
        )
        for what, is_change, limit in (
            ("reload that changes nothing", False, None),
            ("reload of the bindings of a sink", True, PAUSE),
        )
    ]


async def _rows(settings: Settings) -> list[Row]:
    return [
        *await _cost_rows(settings),
        await _memory_row(settings),
        *await _pause_rows(settings),
    ]


NOTES = """\
CPU of the process, user and system. Events of 160 bytes; four clients, each of which waits for the
answer to 100 events. The load and the receiver are in another process."""


def run(settings: Settings) -> Table:
    needed = ("aiohttp", "psutil", "cyclopts")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    rows = [not_installed(name) for name in missing] if missing else run_async(_rows, settings)
    question = "What does the application cost per event, and how long does a reload pause a sink?"
    return Table(question, rows, per="event", notes=NOTES)


if __name__ == "__main__":
    main(run)
