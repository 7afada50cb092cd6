"""Durable stores behind one call: store an event, return when it is stored.

Each in its own idiom. A server is started for the run, on a free port with a folder of its own, and
stopped at its end; who is not installed is not measured.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import edr
from edr.journal import SqliteJournal


class Store:
    """Stores events. ``folder`` is its own."""

    name: ClassVar[str]
    does: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    ours: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def is_there(cls) -> bool:
        return all(shutil.which(each) or importlib.util.find_spec(each) for each in cls.needs)

    async def start(self) -> None: ...

    async def store(self, event: edr.Event) -> None: ...

    async def stop(self) -> None: ...


class EdrDisk(Store):
    name = "edr journal, sync=disk"
    does = "synced"
    ours = True
    options: ClassVar[dict[str, Any]] = {"sync": "disk"}

    async def start(self) -> None:
        self._journal = SqliteJournal(self.folder / "journal", **self.options)
        await self._journal.open()

    async def store(self, event: edr.Event) -> None:
        await self._journal.append(event)

    async def stop(self) -> None:
        await self._journal.aclose()


class EdrProcess(EdrDisk):
    name = "edr journal, sync=process"
    does = "not synced"
    options: ClassVar[dict[str, Any]] = {"sync": "process"}


class RedisAlways(Store):
    name = "Redis Streams, appendfsync always"
    does = "synced"
    needs = ("redis-server", "redis")
    fsync = "always"

    async def start(self) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis

        port = free_port()
        self._server = started(
            *(
                "redis-server",
                "--bind",
                "127.0.0.1",
                "--port",
                str(port),
                "--dir",
                str(self.folder),
            ),
            *("--appendonly", "yes", "--appendfsync", self.fsync, "--save", ""),
        )
        await listening(port)
        pool = BlockingConnectionPool(port=port, max_connections=50, timeout=60)
        self._redis = Redis(connection_pool=pool)

    async def store(self, event: edr.Event) -> None:
        await self._redis.xadd("events", {"event": event.to_json()})

    async def stop(self) -> None:
        await self._redis.aclose()
        self._server.kill()
        self._server.wait()


class RedisEverysec(RedisAlways):
    name = "Redis Streams, appendfsync everysec"
    does = "not synced"
    fsync = "everysec"


class JetStream(Store):
    name = "JetStream, file storage"
    does = "not synced"
    needs = ("nats-server", "nats")

    async def start(self) -> None:
        import nats

        port = free_port()
        self._server = started(
            *("nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", str(self.folder)),
            *("-l", str(self.folder / "log")),
        )
        await listening(port)
        self._client = await nats.connect(f"nats://127.0.0.1:{port}")
        self._stream = self._client.jetstream()
        await self._stream.add_stream(name="events", subjects=["events"])

    async def store(self, event: edr.Event) -> None:
        await self._stream.publish("events", event.to_json(), timeout=60)

    async def stop(self) -> None:
        await self._client.close()
        self._server.kill()
        self._server.wait()


class PersistQueue(Store):
    name = "persist-queue, SQLiteQueue"
    does = "synced"
    needs = ("persistqueue",)

    async def start(self) -> None:
        from persistqueue import SQLiteQueue

        self._queue = SQLiteQueue(str(self.folder), auto_commit=True)

    async def store(self, event: edr.Event) -> None:
        self._queue.put(event.to_json())

    async def stop(self) -> None:
        self._queue.close()


class LiteQueue(Store):
    name = "litequeue"
    does = "not synced"
    needs = ("litequeue",)

    async def start(self) -> None:
        from litequeue import LiteQueue as Queue

        self._queue = Queue(str(self.folder / "queue"))

    async def store(self, event: edr.Event) -> None:
        self._queue.put(event.to_json().decode())

    async def stop(self) -> None:
        self._queue.close()


STORES: tuple[type[Store], ...] = (
    EdrDisk,
    EdrProcess,
    RedisAlways,
    RedisEverysec,
    JetStream,
    PersistQueue,
    LiteQueue,
)


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def listening(port: int) -> None:
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens on port {port}")
