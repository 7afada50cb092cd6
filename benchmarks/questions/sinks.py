"""What does a sink cost per event, and does a dead one slow another?

One event per request, as Kazoo sends them: the CPU of this process, against requests by hand with
the same client. The receiver is another process. Then the CPU of a file sink for a backlog, alone
and next to an HTTP sink whose receiver is down.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

from benchmarks.harness.harness import Settings, main, no_collection, noise_of, run_async
from benchmarks.harness.samples import event_of
from benchmarks.harness.table import Row, Table, not_installed
from edr.journal import SqliteJournal
from edr.sinks import Batch, Encoder, FileSink, JournalIntake, Retry, Sink, SinkWorker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

HTTP = 1.6
"""CPU of the whole way, from the journal to the receiver, as a multiple of the requests alone."""

ISOLATION = 1.053
"""A rate of at least 0.95 of the rate alone, as CPU, which is not as noisy as the rate."""

SETTLED = 0.2
"""Seconds after which the dead sink has made the attempt that ``resume`` causes. It makes the next
ones within a second each, which is more often than a sink does in an outage."""

BY_HAND = "aiohttp by hand"
Case = tuple[str, str, Callable[[], Awaitable[float]], float | None]
"""Name, what it does, a sample in seconds, and the limit of its ratio to the first case."""


def _receiver(ready: Connection) -> None:
    """Answer each request on a free port with 204, until the process is ended."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                _, _, rest = head.lower().partition(b"content-length: ")
                await reader.readexactly(int(rest.partition(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            ready.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(run())


@asynccontextmanager
async def _receiving() -> AsyncIterator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_receiver, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}/"
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)


class _Backlog:
    """A journal with ``count`` events, and workers that begin with the oldest one."""

    def __init__(self, journal: SqliteJournal, count: int) -> None:
        self.count = count
        self._journal = journal
        self._workers = 0

    async def worker(self, sink: Sink, batch: Batch, retry: Retry | None = None) -> SinkWorker:
        self._workers += 1
        intake = JournalIntake(self._journal, f"sink:{self._workers}", start="oldest")
        worker = SinkWorker(f"sink-{self._workers}", sink, intake, batch=batch, retry=retry)
        await worker.prepare()
        return worker

    async def delivered(self, sink: Sink, batch: Batch, clock: Callable[[], float]) -> float:
        """Deliver all events once, and return the seconds of ``clock``."""
        worker = await self.worker(sink, batch)
        with no_collection():
            start = clock()
            await worker.start()
            while worker.statistics().delivered < self.count:  # noqa: ASYNC110 - it does not announce it
                await asyncio.sleep(0.005)
            elapsed = clock() - start
        await worker.aclose()
        return elapsed


@asynccontextmanager
async def _backlog(count: int) -> AsyncIterator[tuple[_Backlog, Path]]:
    with tempfile.TemporaryDirectory() as name:
        async with SqliteJournal(Path(name) / "journal", sync="process") as journal:
            for start in range(0, count, 500):
                await journal.append(*[event_of() for _ in range(min(500, count - start))])
            yield _Backlog(journal, count), Path(name)


async def _measured(cases: Sequence[Case], rounds: int, count: int) -> list[Row]:
    """Measure the cases in turns; see ``harness.measure``, which has no clock for CPU."""
    costs: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds + 1):
        for samples, (_, _, sample, _) in zip(costs, cases, strict=True):
            samples.append(await sample() / count * 1e9)
    rows = []
    for samples, (what, does, _, limit) in zip(costs, cases, strict=True):
        del samples[0]  # the first round warms up
        is_first = samples is costs[0]
        ratios = [cost / other for cost, other in zip(samples, costs[0], strict=True)]
        rows.append(
            Row(
                what,
                value=median(samples),
                does=does,
                ratio=None if is_first else median(ratios),
                noise=noise_of(samples if is_first else ratios),
                limit=limit,
                ours=not is_first or what != BY_HAND,
            )
        )
    return rows


async def _http_rows(settings: Settings) -> list[Row]:
    import aiohttp

    from edr.sinks import HttpSink

    count = 300 if settings.quick else 1000
    events = [event_of() for _ in range(count)]
    async with (
        _receiving() as url,
        _backlog(count) as (backlog, _),
        aiohttp.ClientSession() as session,
    ):
        sink = HttpSink(url, name="s", encode=Encoder(single=True))
        await sink.open()

        async def by_hand() -> float:
            with no_collection():
                start = process_time()
                for event in events:
                    async with session.post(url, data=event.to_json()) as response:
                        await response.read()
                return process_time() - start

        async def alone() -> float:
            with no_collection():
                start = process_time()
                for event in events:
                    await sink.write([event])
                return process_time() - start

        async def whole() -> float:
            other = HttpSink(url, name="s", encode=Encoder(single=True))
            return await backlog.delivered(other, Batch(), process_time)

        cases: list[Case] = [
            (BY_HAND, "post, read the response", by_hand, None),
            ("HttpSink.write", "one event", alone, None),
            ("journal, SinkWorker, HttpSink", "one event, acknowledged", whole, HTTP),
        ]
        rows = await _measured(cases, settings.rounds, count)
        await sink.aclose()
        return rows


async def _isolation_rows(settings: Settings) -> list[Row]:
    from edr.sinks import HttpSink

    count = 5_000 if settings.quick else 10_000
    batch = Batch(events=200)
    async with _backlog(count) as (backlog, folder):
        down = HttpSink(f"http://127.0.0.1:{_closed_port()}/", name="down", encode=Encoder())
        dead = await backlog.worker(down, Batch(events=100), Retry(base=1, cap=1))
        await dead.start()

        async def file() -> float:
            sink = FileSink(folder / "events.jsonl", fsync="never")
            return await backlog.delivered(sink, batch, process_time)

        async def alone() -> float:
            await dead.pause()
            return await file()

        async def next_to_a_dead_one() -> float:
            await dead.resume()
            await asyncio.sleep(SETTLED)
            return await file()

        cases: list[Case] = [
            ("FileSink, alone", "a backlog in batches of 200", alone, None),
            ("FileSink, next to a dead HttpSink", "the same", next_to_a_dead_one, ISOLATION),
        ]
        rows = await _measured(cases, settings.rounds, count)
        await dead.aclose()
        return rows


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def _rows(settings: Settings) -> list[Row]:
    return [*await _http_rows(settings), *await _isolation_rows(settings)]


NOTES = """\
CPU of the sending process. HTTP: one event per request, to a receiver in another process. File: a
backlog in a journal."""


def run(settings: Settings) -> Table:
    try:
        import aiohttp  # noqa: F401 - the baseline
    except ModuleNotFoundError:
        rows = [not_installed(BY_HAND)]
    else:
        rows = run_async(_rows, settings)
    question = "What does a sink cost per event, and does a dead one slow another?"
    return Table(question, rows, per="event", notes=NOTES)


if __name__ == "__main__":
    main(run)
