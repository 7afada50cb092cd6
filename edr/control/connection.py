"""``Connection``: one client of a control socket: lines in, lines out, open requests.

The problem: a client may send anything, and may stop reading at any moment. Neither may cost the
process more than a bounded amount of memory, or delay another client.

* A line that is too long is skipped. An invalid one is answered. The connection continues.
* Each request is a task. Before a task writes, it waits until the buffer of the socket has room,
  one task after the other. So a client that does not read costs one message above the limit of the
  buffer. Errors are written in the same way, so a client that does not read is not read either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import orjson
from pydantic_core import from_json

from edr.control.plain import text
from edr.control.protocol import MAX_BATCH, MAX_ID_LENGTH, MAX_LINE
from edr.errors import kind_of

MAX_REQUESTS = 16
"""Open requests of one connection. A terminal needs two or three."""

MAX_ID = 2**53
"""The largest number that every client reads without a loss."""

EOF_GRACE = 1.0
"""Seconds in which requests may end after the client has sent its last line. So the answer to
``echo '{"id":1,"do":"statistics"}' | nc -NU PATH`` is complete."""

Message: TypeAlias = Mapping[str, Any]


class RequestError(Exception):
    """A request cannot be answered. It becomes a line ``error``.

    Args:
        code: one of ``protocol.ERRORS``.
        detail: the reason.
        path: the place in the request.
    """

    def __init__(self, code: str, detail: str, path: str = "") -> None:
        super().__init__(code, detail, path)
        self.code = code
        self.detail = detail
        self.path = path


class Answers:
    """The output of a running request.

    Attributes:
        end: further fields of its last line.
        has_answer: whether a message was written.
    """

    def __init__(self, connection: Connection, id: int | str) -> None:
        self.end: dict[str, Any] = {}
        self.has_answer: bool = False
        self._connection = connection
        self._head = b'{"id":' + orjson.dumps(id) + b',"is":"'

    @property
    def is_closing(self) -> bool:
        """Whether the process ends the connection, and not the client its request."""
        return self._connection.is_closing

    async def send(self, kind: str, message: Message) -> None:
        """Write one message, as soon as the client has read enough of the earlier ones.

        Raises:
            RequestError: it has more than 1 MiB.
            OSError: the connection was lost.
        """
        line = self.line(kind, orjson.dumps(message))
        await self._connection.write(lambda: line)
        self.has_answer = True

    async def write(self, make: Callable[[], bytes]) -> None:
        """Call ``make`` when the client has read enough, and write the lines that it returns.

        So what it returns is not older than the moment of the write.
        """
        await self._connection.write(make)

    def line(self, kind: str, fields: bytes) -> bytes:
        """Return the line of a message.

        Args:
            kind: its ``is``.
            fields: its other fields, as the JSON of an object.

        Raises:
            RequestError: it has more than 1 MiB.
        """
        rest = b"}\n" if fields == b"{}" else b"," + fields[1:] + b"\n"
        line = self._head + kind.encode() + b'"' + rest
        if len(line) > MAX_LINE:
            raise RequestError("too_large", f"the answer has {len(line):,} bytes")
        return line


Answer: TypeAlias = Callable[[Answers], Awaitable[None]]
"""Answers a request, until all is answered or the task is cancelled."""

Start: TypeAlias = Callable[[Message], Answer]
"""Checks a request, and returns its answer. Raises ``RequestError``."""


class Connection:
    """One client.

    Args:
        reader: its lines.
        writer: receives the answers.
        start: begins a request.
        on_fault: called with the exception of a request that is a fault of the program.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        start: Start,
        on_fault: Callable[[Exception], object],
    ) -> None:
        self.is_closing: bool = False
        self._reader = reader
        self._writer = writer
        self._start = start
        self._on_fault = on_fault
        self._requests: dict[int | str, asyncio.Task[None]] = {}
        self._begun: set[int | str] = set()
        self._stopped: set[int | str] = set()
        self._room = asyncio.Lock()
        writer.transport.set_write_buffer_limits(high=MAX_BATCH)

    @property
    def requests(self) -> int:
        """Number of open requests."""
        return len(self._requests)

    @property
    def unread(self) -> int:
        """Bytes that the client has not read, without those in the buffer of the kernel."""
        return self._writer.transport.get_write_buffer_size()

    async def serve(self, hello: bytes) -> None:
        """Serve the client until one side closes the connection.

        Cancellation: it aborts the connection and the open requests.
        """
        try:
            await self.write(lambda: hello)
            while (line := await self._line()) is not None:
                await self._take(line)
            if self._requests:
                await asyncio.wait(self._requests.values(), timeout=EOF_GRACE)
            with suppress(TimeoutError):
                async with asyncio.timeout(EOF_GRACE):
                    await self.close()
        except OSError:
            pass  # the client has gone
        finally:
            self.abort()  # first: then no request waits for the client
            tasks = list(self._requests.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._requests.clear()

    async def _line(self) -> bytes | None:
        """Return the next line; ``None`` after the last one. Refuse a line that is too long."""
        is_rest = False
        while True:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return None
            except asyncio.LimitOverrunError as exc:
                is_rest = True
                with suppress(asyncio.IncompleteReadError):  # the next call returns None
                    await self._reader.readexactly(exc.consumed)
                continue
            if not is_rest:
                return line
            is_rest = False
            error = RequestError("line_too_long", f"a line must have at most {MAX_LINE:,} bytes")
            await self._refuse(None, error)

    async def _take(self, line: bytes) -> None:
        number: int | str | None = None
        try:
            request = _object(line)
            number = _id(request)
            if request.get("do") == "stop":
                self._stop(number)
                return
            self._check_room(number)
            answer = self._start(request)
        except RequestError as exc:
            await self._refuse(number, exc)
            return
        task = asyncio.get_running_loop().create_task(self._run(number, answer))
        if not task.done():  # an eager one may be
            self._requests[number] = task

    def _check_room(self, number: int | str) -> None:
        if number in self._requests:
            raise RequestError("duplicate_id", f"the request {number!r} is still open", "id")
        if len(self._requests) >= MAX_REQUESTS:
            raise RequestError(
                "too_many_requests", f"the connection has {MAX_REQUESTS} open requests"
            )

    def _stop(self, id: int | str) -> None:
        task = self._requests.get(id)
        if task is not None and id not in self._stopped:  # a second one would cancel its last line
            self._stopped.add(id)
            if id in self._begun:  # a task that is cancelled before never runs
                task.cancel()

    async def _run(self, id: int | str, answer: Answer) -> None:
        answers = Answers(self, id)
        self._begun.add(id)
        try:
            await self._answer(id, answer, answers)
            await answers.send("end", answers.end)
        except RequestError as exc:
            await self._refuse(id, exc)
        except OSError:
            pass  # the client has gone, and so its reader ends
        except Exception as exc:  # a fault of a part of the program, or of edr
            self._on_fault(exc)
            await self._refuse(id, RequestError("failed", text(f"{type(exc).__name__}: {exc}")))
        finally:
            self._requests.pop(id, None)
            self._begun.discard(id)
            self._stopped.discard(id)

    async def _answer(self, id: int | str, answer: Answer, answers: Answers) -> None:
        with suppress(asyncio.CancelledError):
            if id not in self._stopped:  # otherwise it was stopped before its task began
                await answer(answers)
                return
        # A client that waits for the result of a change must not take `end` for a success.
        if self.is_closing and not answers.has_answer and not answers.end:
            raise RequestError("bus_closed", "the process ended the request")

    async def _refuse(self, id: int | str | None, error: RequestError) -> None:
        with suppress(OSError):
            line = error_line(error, id)
            await self.write(lambda: line)

    async def write(self, make: Callable[[], bytes]) -> None:
        """Call ``make`` as soon as the buffer of the socket has room, and write its result.

        Raises:
            OSError: the connection was lost.
        """
        async with self._room:
            await self._writer.drain()
            self._writer.write(make())

    async def close(self, goodbye: bytes = b"") -> None:
        """End all requests, write ``goodbye``, and close. Cancellation: the client gets less.

        A client that does not read keeps it waiting: the caller limits the time, and aborts.
        """
        self.is_closing = True
        for number in list(self._requests):
            self._stop(number)
        if self._requests:
            await asyncio.wait(self._requests.values())
        with suppress(OSError):
            await self.write(lambda: goodbye)
            self._writer.close()
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Close now, whatever is still to be written."""
        self._writer.transport.abort()


def error_line(error: RequestError, id: int | str | None = None) -> bytes:
    """Return the line of an error; one without an ``id`` concerns the connection."""
    message: dict[str, Any] = {} if id is None else {"id": id}
    message |= {"is": "error", "code": error.code}
    if error.path:
        message["path"] = error.path
    detail = error.detail.encode("utf-8", "replace").decode()
    return orjson.dumps({**message, "detail": detail}) + b"\n"


def _object(line: bytes) -> Message:
    try:
        # Not orjson.loads, which reads an integer of more than 64 bits as a float.
        request = from_json(line, allow_inf_nan=False)
    except ValueError as exc:
        raise RequestError("invalid_json", f"the line must be a JSON object: {exc}") from None
    if not isinstance(request, dict):
        raise RequestError("invalid_json", f"the line must be an object, got {kind_of(request)}")
    return request


def _id(request: Message) -> int | str:
    given = request.get("id")
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) <= MAX_ID:
        return given
    if isinstance(given, str) and 0 < len(given) <= MAX_ID_LENGTH:
        return given
    raise RequestError(
        "invalid_request",
        f"id must be a whole number or 1 to {MAX_ID_LENGTH} characters, got {kind_of(given)}",
        "id",
    )
