"""``Client``: a connection to the control socket of a process.

It needs neither pydantic nor the bus, so that a command starts quickly. One task reads the lines
and gives each to its request. While a request has more than ``MAX_BACKLOG`` bytes that its caller
did not take, the client reads nothing more. Then the socket is full, and the process reports the
events that it did not send as a gap. So nothing is buffered without a limit, on either side.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson

from edr._util.opening import Opening
from edr._util.wakeup import wake
from edr.control.errors import ConnectionLostError, ProtocolError, RemoteError
from edr.control.protocol import FINAL, MAX_LINE, VERSION
from edr.control.runtime_folder import check_supported

MAX_BACKLOG = MAX_LINE
"""Bytes of one request that the caller did not take yet, before the client stops reading."""

HELLO_TIMEOUT = 10.0
"""Seconds for the first line. A stopped process accepts connections, and sends nothing."""

Message = dict[str, Any]


class Request:
    """An open request: an async iterator over its messages, which ends with the request.

    The last message is that of ``end``; a request that fails raises ``RemoteError``. ``async with``
    stops it at the end of the block. A request that is no longer referenced is stopped too.
    """

    def __init__(self, client: Client, id: int) -> None:
        self.id: int = id
        self._client = client
        self._messages: deque[tuple[Message, int]] = deque()
        self._backlog = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._fault: Exception | None = None

    def __repr__(self) -> str:
        return f"<Request {self.id} {'ended' if self._is_over else 'open'}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message. Cancellation: safe, no message is lost.

        Raises:
            StopAsyncIteration: the request has ended.
            RemoteError: the process refused it.
            ConnectionLostError: the connection was lost before the request ended.
        """
        while not self._messages:
            if self._fault is not None:
                raise self._fault
            if self._is_over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, size = self._messages.popleft()
        self._backlog -= size
        self._client.resume()
        if message.get("is") == "error":
            raise _remote_error(message)
        return message

    def stop(self) -> None:
        """Ask the process to end this request. Its last message, ``end``, follows. Idempotent."""
        if not self._is_over:
            self._client.send({"id": self.id, "do": "stop"})

    @property
    def is_full(self) -> bool:
        """Whether the caller must take messages before the client reads further ones."""
        return self._backlog > MAX_BACKLOG

    def put(self, message: Message, size: int) -> None:
        """Add a message of ``size`` bytes. Called by the client."""
        self._messages.append((message, size))
        self._backlog += size
        self._is_over = message.get("is") in FINAL
        self._wake()

    def fail(self, fault: Exception) -> None:
        """End the request with an error, after the messages so far. Called by the client."""
        if not self._is_over:
            self._is_over = True
            self._fault = fault
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            wake(self._waiter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._client.forget(self.id)

    def __del__(self) -> None:
        if not self._is_over:
            self._client.forget(self.id)
            with suppress(RuntimeError):  # the loop is closed
                self.stop()


class Client:
    """A connection to the control socket of a process. Make one with ``connect``.

    It belongs to one event loop. Any number of requests may be open at the same time.

    Attributes:
        hello: the first line of the process: ``edr`` (the version of the protocol), ``bus``,
            ``node``, ``pid``, ``can``, ``history`` and ``version``.
        path: the path of the socket.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        hello: Message,
        path: str,
    ) -> None:
        self.hello: Message = hello
        self.path: str = path
        self._reader = reader
        self._writer = writer
        self._requests: weakref.WeakValueDictionary[int, Request] = weakref.WeakValueDictionary()
        self._ids = 0
        self._lost: Exception | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="edr client")

    def __repr__(self) -> str:
        return f"<Client of {self.path}>"

    def request(self, do: str, **fields: Any) -> Request:
        """Send a request, and return its messages as an async iterator.

        Args:
            do: the request, such as ``tail``.
            fields: its fields. A field that is ``None`` is not sent.

        Raises:
            ConnectionLostError: the connection was lost or closed.
            ValueError: the request has more than 1 MiB, or a value that is not JSON.
        """
        if self._lost is not None:
            raise self._lost
        self._ids += 1
        request = Request(self, self._ids)
        given = {name: value for name, value in fields.items() if value is not None}
        self._requests[request.id] = request
        try:
            self.send({"id": request.id, "do": do, **given})
        except BaseException:
            request.fail(ConnectionLostError("the request was not sent"))
            raise
        return request

    async def ask(self, do: str, **fields: Any) -> Message:
        """Send a request, wait for its end, and return its only answer.

        A request without an answer of its own returns its ``end``. Cancellation: the process is
        asked to stop the request.

        Raises:
            RemoteError: the process refused the request.
            ConnectionLostError: the connection was lost before the request ended.
        """
        answer: Message | None = None
        async for message in self.request(do, **fields):
            if answer is None:
                answer = message
        assert answer is not None  # a request ends with a message or raises
        return answer

    def send(self, message: Message) -> None:
        """Send one line, unless the connection was lost. Called by requests.

        Raises:
            ValueError: the line has more than 1 MiB, or is not JSON.
        """
        try:
            line = orjson.dumps(message) + b"\n"
        except TypeError as exc:
            raise ValueError(f"a request must be JSON: {exc}") from None
        if len(line) > MAX_LINE:
            raise ValueError(f"a request must have at most {MAX_LINE:,} bytes, got {len(line):,}")
        if self._lost is None:
            self._writer.write(line)

    def forget(self, id: int) -> None:
        """Discard further messages of a request. Called by requests."""
        self._requests.pop(id, None)
        self.resume()

    def resume(self) -> None:
        """Continue to read, if a request was full. Called by requests."""
        if self._resumed is not None:
            wake(self._resumed)

    async def _read(self) -> None:
        fault: Exception = ConnectionLostError(f"the process closed the connection to {self.path}")
        try:
            while line := await self._reader.readuntil(b"\n"):
                message = orjson.loads(line)
                if not isinstance(message.get("is"), str):
                    raise ValueError('"is" must be text')  # noqa: TRY301 - as for other lines
                if message.get("is") == "bye":
                    reason = message.get("detail", "it ended")
                    fault = ConnectionLostError(
                        f"the process closed the connection to {self.path}: {reason}"
                    )
                    continue
                number = message.get("id")
                request = self._requests.get(number)
                if request is None:
                    if number is None and message.get("is") == "error":
                        fault = _remote_error(message)
                    continue
                request.put(message, len(line))
                while request is not None and request.is_full:
                    del request  # or its owner could not drop it
                    await self._wait_to_resume()
                    request = self._requests.get(number)
        except (asyncio.IncompleteReadError, OSError):
            pass  # an OSError if it closed without reading our last lines
        except (asyncio.LimitOverrunError, ValueError, AttributeError, TypeError) as exc:
            fault = ProtocolError(f"{self.path} sent a line that is not of this protocol: {exc}")
        finally:
            self._end(fault)

    async def _wait_to_resume(self) -> None:
        self._resumed = asyncio.get_running_loop().create_future()
        try:
            await self._resumed
        finally:
            self._resumed = None

    def _end(self, fault: Exception) -> None:
        if self._lost is None:
            self._lost = fault
        for request in list(self._requests.values()):
            request.fail(self._lost)
        self._requests.clear()
        self._writer.close()

    async def aclose(self) -> None:
        """Close the connection. Open requests raise ``ConnectionLostError``. Idempotent."""
        if self._lost is None:
            self._lost = ConnectionLostError(f"the connection to {self.path} was closed here")
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._end(self._lost)  # a task that never ran has no finally
        with suppress(OSError):
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _remote_error(message: Message) -> RemoteError:
    return RemoteError(
        str(message.get("code")), str(message.get("path", "")), str(message.get("detail"))
    )


def connect(path: str | os.PathLike[str]) -> Opening[Client]:
    """Connect to the control socket of a process.

    ``async with connect(path) as client`` closes the connection at the end of the block. ``await
    connect(path)`` returns a client that the caller closes.

    Args:
        path: the path of the socket; ``find`` returns it.

    Raises:
        ConnectionLostError: no process accepts connections there, or it does not answer.
        RemoteError: the process refused the connection.
        SocketPathError: this system has no Unix sockets.
        ProtocolError: the peer does not use this version of the protocol.
    """
    return Opening(partial(_open, os.fspath(path)))


async def _open(path: str) -> Client:
    check_supported()
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except OSError as exc:
        raise ConnectionLostError(
            f"no process accepts connections at {path} ({exc.strerror or exc})"
        ) from exc
    try:
        hello = await _hello(path, reader)
    except BaseException:
        writer.close()
        raise
    return Client(reader, writer, hello, path)


async def _hello(path: str, reader: asyncio.StreamReader) -> Message:
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            line = await reader.readuntil(b"\n")
    except TimeoutError:
        raise ConnectionLostError(
            f"the process at {path} accepted the connection and sent nothing in "
            f"{HELLO_TIMEOUT:g} s: it is stopped, or its event loop is blocked"
        ) from None
    except (asyncio.IncompleteReadError, OSError) as exc:
        raise ConnectionLostError(f"the process at {path} closed the connection") from exc
    except asyncio.LimitOverrunError as exc:
        raise ProtocolError(f"{path} is not a control socket of edr") from exc
    try:
        hello = orjson.loads(line)
    except orjson.JSONDecodeError:
        hello = None
    if not isinstance(hello, dict) or not ({"edr", "is"} & hello.keys()):
        raise ProtocolError(f"{path} is not a control socket of edr")
    if hello.get("is") == "error":
        raise _remote_error(hello)
    if hello["edr"] != VERSION:
        raise ProtocolError(
            f"the process at {path} uses version {hello['edr']} of the control protocol, "
            f"and this is version {VERSION}; use the edr command of that process"
        )
    return hello
