"""For tests of sources: a journal that stores when a test lets it, and peers that send lines."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import orjson

import edr
from edr.errors import EventsRefusedError, JournalError, Refusal
from edr.sources import HttpIngest, SocketSource, StdinSource
from support.consuming import until


class Counts(NamedTuple):
    failed: int
    error: str | None


class HeldJournal:
    """Stores events in a list, all that have come together, while it is not held.

    ``hold()`` keeps accepted events from being stored. ``size`` is how many may wait for it. With
    ``error`` it can store none. It refuses events whose n is in ``refuses``.
    """

    bindings = (edr.Binding.everything(),)

    def __init__(self, size=1_000_000):
        self.size = size
        self.stored = []
        self.accepted = []
        self.refuses = set()
        self.error = None
        self.is_closed = False
        self._may_store = asyncio.Event()
        self._may_store.set()
        self._changed = asyncio.Event()

    def hold(self):
        self._may_store.clear()

    def release(self):
        self._may_store.set()
        self._changed.set()

    def fail(self, error):
        self.error = error
        for _, storing in self.accepted:
            if not storing.done():
                storing.set_exception(JournalError(error))
        self.accepted.clear()

    @property
    def numbers(self):
        return [event.body["n"] for event in self.stored]

    def set_bindings(self, bindings):
        self.bindings = bindings

    async def open(self):
        pass

    def append_nowait(self, event):
        return self.submit(event) is not None

    def submit(self, event):
        if self.error or len(self.accepted) >= self.size:
            return None
        storing = asyncio.get_running_loop().create_future()
        self.accepted.append((event, storing))
        if len(self.accepted) == 1:
            asyncio.get_running_loop().call_soon(self._store_soon)
        return storing

    def _store_soon(self):  # not in the call of submit, in which an eager task would begin
        asyncio.get_running_loop().create_task(self._store())

    async def _store(self):
        await self._may_store.wait()
        for event, storing in self.accepted:
            if event.body.get("n") in self.refuses:
                if not storing.done():
                    storing.set_exception(EventsRefusedError([Refusal(event, "too odd")]))
                continue
            self.stored.append(event)
            if not storing.done():
                storing.set_result(len(self.stored))
        self.accepted.clear()
        self._changed.set()

    async def append(self, *events):
        if self.error:
            raise JournalError(self.error)
        for event in events:
            await self.submit(event)
        return len(self.stored)

    async def room(self):
        if self.is_closed:
            raise JournalError("the journal is closed")
        while len(self.accepted) >= self.size and not self.error:
            self._changed.clear()
            await self._changed.wait()

    def report_refused(self, event, reason):
        pass

    def statistics(self):
        return Counts(0, self.error)

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        self.is_closed = True
        self.release()
        await asyncio.sleep(0)


def line(n, **fields):
    """Return a line without id, node and timestamp."""
    document = {"app_name": "app", "app_version": "1", "severity": "ok", "verbosity": "info"}
    return orjson.dumps({**document, "body": {"n": n}, **fields}) + b"\n"


def lines(*numbers):
    return b"".join(map(line, numbers))


class SocketPeers:
    """A ``SocketSource`` and its clients."""

    def __init__(self, ingest, folder):
        self.source = SocketSource("in", ingest, folder / "in.sock")

    async def start(self):
        await self.source.start()
        return await SocketPeer.connect(self.source.path)

    async def another(self):
        return await SocketPeer.connect(self.source.path)


class SocketPeer:
    """A client of a ``SocketSource``."""

    @classmethod
    async def connect(cls, path):
        peer = cls()
        peer.reader, peer.writer = await asyncio.open_unix_connection(str(path))
        return peer

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        return orjson.loads(await self.reader.readuntil())

    async def end(self):
        self.writer.write_eof()
        return await self.answer()

    async def rest(self):
        return await self.reader.read()

    async def aclose(self):
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class StdinPeers:
    """A ``StdinSource`` that reads from a pipe; its only peer writes to it."""

    def __init__(self, ingest, folder):
        self.descriptor, self.end = os.pipe()
        self.answers = []
        self.source = StdinSource(
            "stdin", ingest, descriptor=self.descriptor, report=self.answers.append
        )

    async def start(self):
        await self.source.start()
        return StdinPeer(self)


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


class StdinPeer:
    def __init__(self, peers):
        self.peers = peers
        self.is_open = True
        self.thread = ThreadPoolExecutor(1)  # a full pipe makes its writer wait

    def send(self, data):
        self.thread.submit(write_all, self.peers.end, data)

    async def answer(self):
        await until(lambda: self.peers.answers)
        return orjson.loads(self.peers.answers.pop(0).to_json())

    async def end(self):
        self.is_open = False
        await asyncio.wrap_future(self.thread.submit(os.close, self.peers.end))
        return await self.answer()

    async def aclose(self):
        os.close(self.peers.descriptor)  # first: then a writer that waits gets an error
        if self.is_open:
            await asyncio.wrap_future(self.thread.submit(os.close, self.peers.end))
        self.thread.shutdown()


class HttpPeers:
    """An ``HttpIngest`` and its requests, without a server."""

    def __init__(self, ingest, folder):
        self.source = HttpIngest("http", ingest)

    async def start(self):
        await self.source.start()
        return Request(self.source)


class Request:
    """A request to an ASGI application. Its body may be sent in parts."""

    def __init__(self, app, method="POST", content_type="application/x-ndjson", **headers):
        given = {"content_type": content_type, **headers}
        self.scope = {
            "type": "http",
            "method": method,
            "path": "/ingest",
            "headers": [
                (name.replace("_", "-").encode(), value.encode())
                for name, value in given.items()
                if value is not None
            ],
        }
        self.messages = asyncio.Queue()
        self.sent = []
        self.received = 0
        self.serving = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self):
        self.received += 1
        return await self.messages.get()

    async def _send(self, message):
        self.sent.append(message)

    def send(self, body, *, more_body=True):
        self.messages.put_nowait({"type": "http.request", "body": body, "more_body": more_body})

    def disconnect(self):
        self.messages.put_nowait({"type": "http.disconnect"})

    async def end(self, body=b""):
        self.send(body, more_body=False)
        return await self.answer()

    async def answer(self):
        await self.serving
        return orjson.loads(self.sent[1]["body"])

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    async def aclose(self):
        self.serving.cancel()
        await asyncio.wait([self.serving])
