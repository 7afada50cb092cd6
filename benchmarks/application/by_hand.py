"""The way of ``edr run`` by hand, without a journal: a socket, a file, an HTTP receiver.

It checks events with ``edr.Event``, as ``edr run`` does, and has a bounded queue for each receiver.
It answers before anything is stored: a crash loses the queued events, and a receiver that is down
stops the other one.

    python -m benchmarks.application.by_hand FOLDER PORT
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import aiohttp
from pydantic_core import from_json

import edr

BATCH = 100
CAPACITY = 1024
"""Events in a queue, at most."""


class ByHand:
    """Reads events from ``folder/in.sock``, and writes them to a file and to an HTTP receiver."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._node = socket.gethostname()
        self._for_file: asyncio.Queue[edr.Event] = asyncio.Queue(CAPACITY)
        self._for_http: asyncio.Queue[edr.Event] = asyncio.Queue(CAPACITY)

    async def run(self) -> None:
        async with (
            await asyncio.start_unix_server(self._serve, self._folder / "in.sock", limit=2**20),
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._write_file())
            group.create_task(self._post())
            print("the application runs", file=sys.stderr, flush=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = 0
        while line := await reader.readline():
            if line == b"\n":
                writer.write(b'{"accepted":%d,"refused":[]}\n' % accepted)
                accepted = 0
                continue
            document = {"node": self._node, **from_json(line)}
            event = edr.Event.model_validate(document, extra="ignore")
            await self._for_file.put(event)
            await self._for_http.put(event)
            accepted += 1
        writer.close()

    async def _taken(self, events: asyncio.Queue[edr.Event]) -> list[edr.Event]:
        batch = [await events.get()]
        while len(batch) < BATCH and not events.empty():
            batch.append(events.get_nowait())
        return batch

    async def _write_file(self) -> None:
        file = await asyncio.to_thread((self._folder / "audit.jsonl").open, "ab", buffering=0)

        def write(data: bytes) -> None:
            file.write(data)
            os.fsync(file.fileno())

        while True:
            batch = await self._taken(self._for_file)
            data = b"".join(event.to_json() + b"\n" for event in batch)
            await asyncio.to_thread(write, data)

    async def _post(self) -> None:
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                batch = await self._taken(self._for_http)
                data = b"[" + b",".join(event.to_json() for event in batch) + b"]"
                async with session.post(self._url, data=data) as response:
                    response.raise_for_status()
                    await response.read()


if __name__ == "__main__":
    asyncio.run(ByHand(Path(sys.argv[1]), f"http://127.0.0.1:{sys.argv[2]}/").run())
