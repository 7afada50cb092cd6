"""An outbox: the orders of a service reach a server, although both of them fail.

    python examples/outbox.py --orders 300

The service emits durable orders: when ``emit`` returns, the order is on disk. A consumer of the
journal posts the orders to a server. The server refuses some of them, and closes some connections
before it confirms the order. During the work the service kills itself with SIGKILL, and is started
again.

At the end the program prints how many orders were emitted, delivered, duplicated and lost. The exit
code is 1 if any order was lost.
With ``--journal FOLDER`` it leaves the journal there, for ``edr journal ls FOLDER``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from _display import can_be_rich, print_table, quiet_end

import edr
from edr.journal import Consumer, Entry, SqliteJournal

RETRY_AFTER = 0.02
"""Seconds until an order that the server refused is posted again."""

SHOP = edr.Binding(app_name="shop")


# The server of the web shop


class FlakyServer:
    """Accepts orders, and fails now and then. It runs in the supervising process."""

    def __init__(self, seed: int) -> None:
        self.taken: Counter[str] = Counter()
        self.refused = 0
        self.broken = 0
        self._random = Random(seed)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Start to listen, and return the port."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(headers["Content-Length"]))
            fate = self._random.random()
            if fate < 0.15:
                self.refused += 1
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            else:
                self.taken[headers["Idempotency-Key"]] += 1
                if fate < 0.2:
                    self.broken += 1  # it has the order but does not confirm it
                else:
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
        writer.close()


# The service


async def serve(journal_path: Path, port: int, first: int, orders: int, kill_after: int) -> None:
    """Emit orders from ``first`` on, and post the journal's unacknowledged orders to the server."""
    journal = SqliteJournal(journal_path)
    async with (
        edr.Bus(journal=journal) as bus,
        await journal.consumer("web-shop", SHOP, max_unacked=16) as consumer,
    ):
        posting = asyncio.create_task(post_all(consumer, port, kill_after))
        await emit_orders(bus, first, orders)
        await until_all_is_posted(journal)
        posting.cancel()
        with suppress(asyncio.CancelledError):
            await posting


async def emit_orders(bus: edr.Bus, first: int, orders: int) -> None:
    """Emit each order, and print a line when it is stored."""
    emitter = edr.Emitter("shop", "1.0", bus=bus, durable=True)
    for number in range(first, orders):
        await emitter.ok({"order": f"order-{number}", "total": 10 + number % 90})
        print(f"emitted order-{number}", flush=True)


async def post_all(consumer: Consumer, port: int, kill_after: int) -> None:
    """Post the entries of the journal one by one. A failed entry is delivered again."""
    posted = 0
    async for entry in consumer:
        if isinstance(entry, edr.Gap):
            continue
        if await post(entry, port):
            posted += 1
            if posted == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)  # before it is acknowledged
            consumer.ack(entry)
        else:
            consumer.nack(entry, RETRY_AFTER)


async def post(entry: Entry, port: int) -> bool:
    """Post one order, and return whether the server confirmed it."""
    body = entry.event.to_json()
    try:
        answers, requests = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        requests.write(
            f"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: {entry.event.body['order']}\r\n\r\n".encode()
            + body
        )
        return (await answers.readline()).startswith(b"HTTP/1.1 204")
    except ConnectionError:
        return False
    finally:
        requests.close()


async def until_all_is_posted(journal: SqliteJournal) -> None:
    """Wait until the consumer has acknowledged every entry of the journal."""
    while True:
        (status,) = await journal.consumers()
        if not status.lag:
            return
        await asyncio.sleep(0.02)


# The supervisor


async def watch(orders: int, seed: int, journal: Path | None) -> int:
    """Run the service, restart it when it is killed, and count the results."""
    server = FlakyServer(seed)
    port = await server.start()
    emitted: list[str] = []
    starts = 0
    with tempfile.TemporaryDirectory() as folder:
        code: int | None = None
        while code != 0 and starts < 5:
            kill_after = orders // 3 if starts == 0 else 0
            path = journal or Path(folder) / "orders.journal"
            options = [path, port, len(emitted), orders, kill_after]
            service = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                "--serve",
                *map(str, options),
                stdout=asyncio.subprocess.PIPE,
            )
            starts += 1
            assert service.stdout is not None
            emitted += [line.decode().split()[1] async for line in service.stdout]
            code = await service.wait()
            if code:
                print(f"the service was killed, {len(emitted)} orders emitted; it starts again")
    server.close()
    return report(server, emitted)


def report(server: FlakyServer, emitted: list[str]) -> int:
    """Print the table; return the exit code."""
    lost = [order for order in emitted if order not in server.taken]
    rows = [
        ("emitted", len(emitted), "durably: each was on disk when emit returned"),
        ("delivered", len(server.taken), "orders that the server has"),
        ("refused", server.refused, "answers 503; each came again"),
        ("broken", server.broken, "connections that broke when the server had the order"),
        ("doubled", server.taken.total() - len(server.taken), "the key of each tells"),
        ("lost", len(lost), "orders emitted that the server has not"),
    ]
    print_table(("orders", "number", ""), rows, rich=can_be_rich(sys.stdout))
    return 1 if lost else 0


def main() -> int:
    """Parse the arguments and run the program."""
    parser = argparse.ArgumentParser(description="an outbox that survives its own death")
    parser.add_argument("--orders", type=int, default=300, help="orders to emit")
    parser.add_argument("--seed", type=int, default=1, help="of the server's failures")
    parser.add_argument("--journal", type=Path, metavar="FOLDER", help="leave the journal here")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        journal, *numbers = arguments.serve
        asyncio.run(serve(Path(journal), *map(int, numbers)))
        return 0
    return asyncio.run(watch(arguments.orders, arguments.seed, arguments.journal))


if __name__ == "__main__":
    with quiet_end():
        sys.exit(main())
