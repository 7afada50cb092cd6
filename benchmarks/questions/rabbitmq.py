"""What does it cost to publish an event to RabbitMQ, and to consume one, on Kazoo's wire?

The server is one that runs (EDR_BENCH_RABBITMQ_URL, else the usual local port). CPU time of this
process is told, not the clock's: the server takes its own turns on a machine of few cores.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

import edr
from benchmarks.harness.harness import Settings, main, no_collection, noise_of
from benchmarks.harness.samples import APP, BODY, VERSION, event_of
from benchmarks.harness.table import Row, Table, not_installed
from edr.wire import kazoo

URL = os.environ.get("EDR_BENCH_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672")
EXCHANGE = f"edr-bench-{uuid4().hex}"
QUEUE = f"{EXCHANGE}-in"
WINDOW = 256
ACK_AT = 64


@dataclass(frozen=True)
class Work:
    """Something that publishes or consumes ``n`` events, and is ready to before it is timed."""

    what: str
    running: Callable[[], Any]
    does: str = ""
    limit: float | None = None
    ours: bool = False


class Window:
    """Lets so many publishes run at a time, as a careful user of a client would."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(WINDOW)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, publish: Awaitable[Any]) -> None:
        await self._room.acquire()
        task = asyncio.ensure_future(publish)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        task.result()
        self._room.release()

    async def emptied(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)


def _payload() -> bytes:
    """What one writes by hand: the same members, from values that are at hand."""
    return orjson.dumps(
        {
            "Node": "pbx-3:4711",
            "Verbosity": "info",
            "Gregorian-Time": 63_871_200_000,
            "Timestamp": "2023-12-31T00:00:00Z",
            "Severity": "ok",
            "ID": uuid4().hex,
            "Body": BODY,
            "Msg-ID": uuid4().hex,
            "Event-Name": "event",
            "Event-Category": "edr",
            "App-Version": VERSION,
            "App-Name": APP,
        }
    )


KEY = f"edr.ok.info.undefined.{APP}"


@asynccontextmanager
async def _aiormq_publishing() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    import aiormq

    async with aiormq.connect(URL) as connection:
        channel = await connection.channel()

        async def run(n: int) -> None:
            window = Window()
            for _ in range(n):
                publish = channel.basic_publish(_payload(), exchange=EXCHANGE, routing_key=KEY)
                await window.run(publish)
            await window.emptied()

        yield run


@asynccontextmanager
async def _aio_pika_publishing() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    import aio_pika

    async with await aio_pika.connect(URL) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)

        async def run(n: int) -> None:
            window = Window()
            for _ in range(n):
                message = aio_pika.Message(_payload(), content_type="application/json")
                await window.run(exchange.publish(message, KEY))
            await window.emptied()

        yield run


@asynccontextmanager
async def _edr_publishing() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    from edr.links import RabbitLink

    async with edr.Bus() as bus, RabbitLink(bus, URL, exchange=EXCHANGE, receive=[]) as link:
        emitted = 0

        async def run(n: int) -> None:
            nonlocal emitted
            for _ in range(n):
                await bus.emit(APP, VERSION, "ok", "info", BODY)
            emitted += n
            while link.statistics().sent < emitted:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

        yield run


@asynccontextmanager
async def _aiormq_consuming() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    import aiormq

    async def run(n: int) -> None:
        taken: asyncio.Queue[Any] = asyncio.Queue()
        count = 0

        async def came(message: Any) -> None:
            nonlocal count
            count += 1
            taken.put_nowait(orjson.loads(message.body))
            if not count % ACK_AT:
                await message.channel.basic_ack(message.delivery_tag, multiple=True, wait=False)

        async with aiormq.connect(URL) as connection:
            channel = await connection.channel()
            await channel.basic_qos(prefetch_count=WINDOW)
            await channel.basic_consume(QUEUE, came)
            for _ in range(n):
                await taken.get()

    yield run


@asynccontextmanager
async def _aio_pika_consuming() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    import aio_pika

    async def run(n: int) -> None:
        taken: asyncio.Queue[Any] = asyncio.Queue()
        count = 0

        async def came(message: Any) -> None:
            nonlocal count
            count += 1
            taken.put_nowait(orjson.loads(message.body))
            if not count % ACK_AT:
                await message.ack(multiple=True)

        async with await aio_pika.connect(URL) as connection:
            channel = await connection.channel()
            await channel.set_qos(WINDOW)
            await (await channel.get_queue(QUEUE)).consume(came)
            for _ in range(n):
                await taken.get()

    yield run


@asynccontextmanager
async def _edr_consuming() -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    from edr.links import RabbitLink

    async def run(n: int) -> None:
        async with edr.Bus() as bus:
            events = bus.subscribe(capacity=n)
            link = RabbitLink(
                bus, URL, exchange=EXCHANGE, send=[], receive=[edr.Binding()], queue=QUEUE
            )
            await link.start()
            for _ in range(n):
                await anext(events)
            await link.aclose()

    yield run


# First what users of RabbitMQ have in Python; the link stands on the library beneath that.
PUBLISHING = (
    Work("aio-pika, orjson: publish", _aio_pika_publishing, "confirms, 256 at a time"),
    Work("RabbitLink: emit to confirm", _edr_publishing, limit=1.1, ours=True),
    Work("aiormq, orjson: publish", _aiormq_publishing, "the library beneath both"),
)
CONSUMING = (
    Work("aio-pika, orjson: consume", _aio_pika_consuming, "an ack each 64"),
    Work("RabbitLink: to a subscriber", _edr_consuming, limit=1.3, ours=True),
    Work("aiormq, orjson: consume", _aiormq_consuming, "the library beneath both"),
)


@asynccontextmanager
async def _exchange() -> AsyncIterator[Any]:
    import aiormq

    async with aiormq.connect(URL) as connection:
        channel = await connection.channel()
        await channel.exchange_declare(EXCHANGE, exchange_type="topic")
        try:
            yield channel
        finally:
            await channel.exchange_delete(EXCHANGE)


async def _fill(channel: Any, n: int) -> None:
    """Have ``n`` messages in the queue, each an event of its own."""
    await channel.queue_declare(QUEUE, auto_delete=True)
    await channel.queue_bind(QUEUE, EXCHANGE, "#")
    window = Window()
    for _ in range(n):
        payload = kazoo.encode(event_of())
        await window.run(channel.basic_publish(payload, exchange=EXCHANGE, routing_key=KEY))
    await window.emptied()


async def _measure(works: tuple[Work, ...], settings: Settings, channel: Any) -> list[Row]:
    n = 1_000 if settings.quick else 4_000
    samples: list[list[float]] = [[] for _ in works]
    for number in range(-1, 3 if settings.quick else 9):
        for work, costs in zip(works, samples, strict=True):
            async with work.running() as run:
                if works is CONSUMING:
                    await _fill(channel, n)
                with no_collection():
                    start = process_time()
                    await run(n)
                    cost = (process_time() - start) / n * 1e9
                if number >= 0:  # the first round warms up
                    costs.append(cost)
    rows = []
    for work, costs in zip(works, samples, strict=True):
        ratios = [cost / base for cost, base in zip(costs, samples[0], strict=True)]
        is_base = work is works[0]
        rows.append(
            Row(
                work.what,
                median(costs),
                does=work.does,
                ratio=None if is_base else median(ratios),
                noise=noise_of(costs if is_base else ratios),
                limit=work.limit,
                ours=work.ours,
            )
        )
    return rows


def _is_here() -> bool:
    parts = urlsplit(URL)
    try:
        socket.create_connection((parts.hostname, parts.port or 5672), timeout=2).close()
    except OSError:
        return False
    return True


async def _rows(settings: Settings) -> list[Row]:
    async with _exchange() as channel:
        rows = await _measure(PUBLISHING, settings, channel)
        return rows + await _measure(CONSUMING, settings, channel)


NOTES = """\
CPU time of the client's process, an event. The others write and read JSON as it is at hand: they
make no event, check nothing, match nothing, and have one consumer."""


def run(settings: Settings) -> Table:
    rows = asyncio.run(_rows(settings)) if _is_here() else [not_installed("RabbitMQ")]
    return Table(
        "What does it cost to publish to RabbitMQ, and to consume, on Kazoo's wire?",
        rows,
        per="event",
        notes=NOTES,
    )


if __name__ == "__main__":
    main(run)
