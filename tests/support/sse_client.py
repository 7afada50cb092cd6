"""A client of server-sent events on raw sockets: it can reset a connection and stop reading."""

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

TIMEOUT = 10
"""Seconds for any wait of a test."""


class Block(NamedTuple):
    """One block of a stream. A heartbeat has no data."""

    event: str
    id: str | None
    data: object

    @property
    def n(self):
        return self.data["body"]["n"]


def parse(text):
    fields = {"event": "message", "id": None, "data": None}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name in fields:
            fields[name] = value.removeprefix(" ")
    data = fields["data"]
    return Block(fields["event"], fields["id"], None if data is None else json.loads(data))


class Answer:
    """The answer to one request, whose body is read as it arrives."""

    def __init__(self, reader, writer, status, headers):
        self.status = status
        self.headers = headers
        self.last_id = None
        self.is_complete = False
        self._reader = reader
        self._writer = writer
        self._text = ""

    @property
    def socket(self):
        return self._writer.get_extra_info("socket")

    async def body(self):
        if "content-length" in self.headers:
            return await self._reader.readexactly(int(self.headers["content-length"]))
        parts = []
        while part := await self._chunk():
            parts.append(part)
        return b"".join(parts)

    async def json(self):
        return json.loads(await self.body())

    async def error(self):
        return (await self.json())["error"]

    async def _chunk(self):
        size = int(await self._reader.readline() or b"0", 16)
        chunk = await self._reader.readexactly(size)
        self.is_complete = not size and await self._reader.readline() == b"\r\n"
        if size:
            await self._reader.readline()
        return chunk

    async def block(self):
        """Return the next block; None at the end."""
        async with asyncio.timeout(TIMEOUT):
            while "\n\n" not in self._text:
                chunk = await self._chunk()
                if not chunk:
                    return None
                self._text += chunk.decode()
        text, self._text = self._text.split("\n\n", 1)
        block = parse(text)
        self.last_id = block.id or self.last_id
        return await self.block() if text.startswith("retry:") else block

    async def blocks(self, count):
        return [await self.block() for _ in range(count)]

    async def rest(self):
        blocks = []
        while (block := await self.block()) is not None:
            blocks.append(block)
        return blocks

    def close(self):
        self._writer.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def _head(reader):
    async with asyncio.timeout(TIMEOUT):
        status = int((await reader.readline()).split()[1])
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
    return status, headers


class HttpClient:
    """Sends requests, each on its own connection. It closes them at the end."""

    def __init__(self, port, token=None, prefix="", host="127.0.0.1"):
        self.port = port
        self.token = token
        self.prefix = prefix
        self.host = host
        self._answers = []

    async def request(self, method, path, headers=(), body=None, buffer=None):
        listed = {"Host": f"{self.host}:{self.port}"}
        if self.token is not None:
            listed["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            listed["Content-Length"] = str(len(body))
        listed |= dict(headers)
        lines = [f"{method} {self.prefix}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in listed.items() if value is not None]
        connection = socket.socket()
        connection.setblocking(False)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        limit = {} if buffer is None else {"limit": buffer}
        reader, writer = await asyncio.open_connection(sock=connection, **limit)
        writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        try:
            status, received = await _head(reader)
        except BaseException:
            writer.transport.abort()
            raise
        answer = Answer(reader, writer, status, received)
        self._answers.append(answer)
        return answer

    async def get(self, path, headers=(), **query):
        text = f"?{urlencode(query, doseq=True)}" if query else ""
        return await self.request("GET", f"{path}{text}", headers)

    async def post(self, path, body=None, headers=()):
        return await self.request("POST", path, headers, {} if body is None else body)

    async def events(self, headers=(), **query):
        """Open a stream; return it with its first block, the hello."""
        answer = await self.get("/events", headers, **query)
        assert answer.status == 200, await answer.body()
        return answer, await answer.block()

    def close(self):
        for answer in self._answers:
            with suppress(Exception):
                answer.close()
