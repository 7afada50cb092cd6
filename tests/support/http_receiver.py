"""An HTTP receiver on raw sockets. It answers as a script says, also in ways HTTP forbids."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    """Names in lower case; a header that came twice is an error."""
    body: bytes
    status: int | None = None
    """The status that was answered, where the answer is one."""


def response(status, body=b"", *, close=False, **headers):
    """Return a response as bytes; ``retry_after=5`` is the header Retry-After."""
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpReceiver:
    """Accepts connections, keeps each request, and gives the answers in their order.

    An answer is a status, bytes to write, or an ``async`` function of the writer. After an answer
    that returns False, or bytes without ``Content-Length``, the connection is closed.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.default = lambda: 204
        """Returns the answer when no other is left."""
        self.requests = []
        self.connections = 0
        self._tasks = set()
        self._is_ending = False
        self._server = None

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/events"
        return self

    async def __aexit__(self, *_):
        self._is_ending = True
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        # A handler that ends by its cancellation is reported as a fault of the server.
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while await self._serve(reader, writer):
                pass
        writer.transport.abort() if self._is_ending else writer.close()

    async def _serve(self, reader, writer):
        request = await self._read(reader)
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else self.default()
        if callable(answer):
            return await answer(writer)
        request.status = answer if isinstance(answer, int) else None
        data = response(answer) if isinstance(answer, int) else answer
        writer.write(data)
        await writer.drain()
        return b"Content-Length" in data and b"Connection: close" not in data

    async def _read(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")[:-2]
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} was sent twice"
            headers[name.lower()] = value
        method, path, _ = start.split(" ")
        body = await reader.readexactly(int(headers["content-length"]))
        return Request(method, path, headers, body)

    @property
    def bodies(self):
        return [request.body for request in self.requests]


async def reset(writer):
    """End the connection with RST, as a process that was killed does."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    return False


async def stall(_writer):
    """Answer nothing, and keep the connection."""
    await asyncio.Event().wait()


async def trickle(writer):
    """Write a header byte by byte, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


def endless(status, chunk=b"x" * 65536):
    """Return an answer that writes a body without end."""

    async def answer(writer):
        writer.write(f"HTTP/1.1 {status} OK\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()

    return answer


def unfinished(status, body=b"begin"):
    """Return an answer whose body stops before its end, on an open connection."""

    async def answer(writer):
        writer.write(f"HTTP/1.1 {status} OK\r\nContent-Length: 1000\r\n\r\n".encode() + body)
        await writer.drain()
        await asyncio.Event().wait()

    return answer
