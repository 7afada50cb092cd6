"""``HttpIngest``: events by ``POST``, as an ASGI application.

The order of the checks matters. A sender without a token learns nothing, and its body is not read.
A body is read only while the journal can store, and at most ``max_body`` bytes of it. Only content
types are accepted that a page in a browser cannot send to another site without its permission.

Rejected: compressed bodies, because a small body can become a large one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from edr.errors import EdrError, InvalidEventError
from edr.records import Binding
from edr.sources.answers import Reply
from edr.sources.documents import Decode, decode_cloudevent, decode_native, parsed
from edr.sources.ingest import Document, Ingest, Stored
from edr.sources.lines import MAX_LINE
from edr.sources.senders import Sender
from edr.sources.source import Counts, SourceStatistics, drain_within
from edr.sources.tokens import Tokens

MAX_BODY = 4 * 2**20
"""Bytes of a body: about 12,000 events. Parsing them as an array holds the loop for 50 ms."""

MAX_REQUESTS = 64
"""Requests in progress."""

READ_TIMEOUT = 30.0
"""Seconds in which a body must arrive."""

READY_TIMEOUT = 5.0
"""Seconds for which a request waits for room in the journal."""

STORE_TIMEOUT = 20.0
"""Seconds for which a request waits until its events are stored. Most clients wait for 30."""

RETRY_AFTER = 5
"""Seconds after which a sender should try again while the journal cannot store."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Form:
    """How a body of one content type is read."""

    decode: Decode
    split: Callable[[bytes], Sequence[Any]]
    is_lines: bool = False
    """Whether blank parts are skipped."""


class HttpIngest:
    """Answers ``POST`` requests when their events are stored. It is an ASGI application.

    A body is one document, an array of them (``application/json``), JSON lines
    (``application/x-ndjson``), a CloudEvent (``application/cloudevents+json``) or a batch of them
    (``application/cloudevents-batch+json``). The answer is that of every source.

    Senders are not trusted: the account tree of an event comes from ``Bus(accounts=…)``, or is
    empty. With ``tokens``, a request needs a bearer token with the right ``emit``. A token with an
    account may send only for this account and the accounts below it.

    Use it in the loop of the bus. It checks no path: an application mounts it.

    Args:
        name: its name.
        ingest: stores the events.
        tokens: the tokens; ``None`` accepts each sender that can connect.
        max_body: bytes of a body.
        max_requests: requests in progress.

    Raises:
        ValueError: an option is not valid.
    """

    kind: str = "source"
    bindings: Sequence[Binding] = ()
    is_durable: bool = True

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        *,
        tokens: Tokens | None = None,
        max_body: int = MAX_BODY,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        for option, value in (("max_body", max_body), ("max_requests", max_requests)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{option} must be a number above 0, got {value!r}")
        self.name: str = name
        self._ingest = ingest
        self._tokens = tokens
        self._max_body = max_body
        self._max_requests = max_requests
        self._counts = Counts(name, ingest)
        self._reading: set[asyncio.Task[Any]] = set()
        self._requests: set[asyncio.Task[_Response]] = set()

    async def start(self) -> None:
        """Accept requests. Before, they are answered with 503. Idempotent."""
        if self._counts.state == "new":
            self._counts.state = "running"

    async def drain(self, timeout: float | None = None) -> int:
        """Answer new requests, and those whose body has not arrived yet, with 503, and return 0.

        Requests whose body has arrived are stored and answered. Idempotent. Waiting and
        cancellation: see ``Source.drain``.
        """
        return await drain_within(timeout, self._stop, self.aclose)

    async def _stop(self) -> None:
        if self._counts.state == "running":
            self._counts.state = "stopping"
        for task in self._reading:
            task.cancel()
        if self._requests:
            await asyncio.wait(list(self._requests))
        self._counts.state = "stopped"

    async def aclose(self) -> None:
        """Answer all requests with 503 now. Idempotent."""
        self._counts.state = "stopped"
        requests = list(self._requests)
        for task in requests:
            task.cancel()
        if requests:
            await asyncio.wait(requests)

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        return self._counts.statistics()

    def status(self) -> dict[str, Any]:
        """Return the state and the counts, as ``edr top`` shows them."""
        return self._counts.status()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            ValueError: it is not an HTTP request.
        """
        if scope["type"] != "http":
            raise ValueError(f"HttpIngest serves HTTP requests only, got {scope['type']!r}")
        self._counts.connections += 1  # before the task, which may begin at once
        serving = asyncio.create_task(self._response_to(scope, receive))
        self._requests.add(serving)
        try:
            await asyncio.wait([serving])
        finally:  # also when the server cancels the request
            serving.cancel()
            self._requests.discard(serving)
            self._counts.connections -= 1
        response = _stopping() if serving.cancelled() else serving.result()
        if response.status:
            await response.send(send)

    async def _response_to(self, scope: Scope, receive: Receive) -> _Response:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope.get("headers", ())
        }
        try:
            _check_method(scope["method"])
            sender = self._sender_of(headers)
            form = _form_of(headers)
            self._check_admission(headers)
            await self._room()
            body = await self._interruptible(self._body(receive))
        except _RefusedError as exc:
            return exc.response
        return await self._stored(body, form, sender)

    def _sender_of(self, headers: dict[str, str]) -> Sender:
        if self._tokens is None:
            return Sender()
        token = self._tokens.find_bearer(headers.get("authorization", ""))
        if token is None:
            challenge = {"www-authenticate": "Bearer"}
            raise _RefusedError(_error(401, "a valid bearer token is needed", **challenge))
        if "emit" not in token.rights:
            raise _RefusedError(_error(403, "the token does not have the right emit"))
        return Sender(account=token.account)

    def _check_admission(self, headers: dict[str, str]) -> None:
        if self._counts.state != "running":
            raise _RefusedError(_stopping())
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:20]) > self._max_body:
            raise _RefusedError(self._too_large())
        if self._counts.connections > self._max_requests:
            reason = f"{self._max_requests} requests are in progress"
            raise _RefusedError(_error(429, reason, **{"retry-after": "1"}))

    async def _room(self) -> None:
        """Wait a short time until the journal has room."""
        if (error := self._ingest.error) is not None:
            raise _RefusedError(_unavailable(f"the journal cannot store events now: {error}"))
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await self._interruptible(self._ingest.ready())
        except TimeoutError:
            raise _RefusedError(_unavailable("the journal has no room now")) from None
        except EdrError as exc:  # it was closed
            raise _RefusedError(_unavailable(str(exc))) from None

    async def _body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":  # the sender has gone
                        raise _RefusedError(_Response(0, b""))
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._max_body:
                        raise _RefusedError(self._too_large())
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            reason = f"the body did not arrive within {READ_TIMEOUT:g} s"
            raise _RefusedError(_error(408, reason, connection="close")) from None

    async def _interruptible(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of ``work``, unless the source is stopped before."""
        if self._counts.state != "running":
            work.close()
            raise _RefusedError(_stopping())
        task = asyncio.create_task(work)
        self._reading.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._reading.discard(task)
        if task.cancelled():
            raise _RefusedError(_stopping())
        return task.result()

    async def _stored(self, body: bytes, form: _Form, sender: Sender) -> _Response:
        reply = Reply()
        try:
            parts = form.split(body)
        except InvalidEventError as exc:
            reply.refuse(reply.add_line(), exc.path, exc.reason)
            parts = ()
        documents = []
        for part in parts:
            number = reply.add_line()
            if not form.is_lines or part.strip():
                documents.append(Document(reply, number, part))
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                stored = await self._ingest.store(documents, sender=sender, decode=form.decode)
        except TimeoutError:  # a full journal may store them later
            error = f"the journal did not store the events within {STORE_TIMEOUT:g} s"
            reply.fail(documents[0].line, error)
            stored = Stored(0, 0, error)
        self._counts.add(stored)
        document = reply.answer().to_json()
        if reply.not_stored is not None:
            return _Response(503, document, {"retry-after": str(RETRY_AFTER)})
        all_refused = reply.refused_count and not reply.accepted
        return _Response(400 if all_refused else 200, document)

    def _too_large(self) -> _Response:
        reason = f"the body must have at most {self._max_body:,} bytes"
        return _error(413, reason, connection="close")


@dataclass(frozen=True, slots=True)
class _Response:
    """An HTTP response. One with status 0 is not sent, because the sender has gone."""

    status: int
    body: bytes
    headers: dict[str, str] | None = None

    async def send(self, send: Send) -> None:
        headers = {
            "content-type": "application/json",
            "content-length": str(len(self.body)),
            "x-content-type-options": "nosniff",
            **(self.headers or {}),
        }
        with suppress(OSError):  # the sender has gone
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status,
                    "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
                }
            )
            await send({"type": "http.response.body", "body": self.body})


class _RefusedError(Exception):
    """A request that ends before its events are stored."""

    def __init__(self, response: _Response) -> None:
        super().__init__(response.status)
        self.response = response


def _error(status: int, reason: str, **headers: str) -> _Response:
    text = reason.encode("utf-8", "replace").decode()
    return _Response(status, orjson.dumps({"error": text}), headers)


def _unavailable(reason: str) -> _Response:
    return _error(503, reason, **{"retry-after": str(RETRY_AFTER)})


def _stopping() -> _Response:
    return _unavailable("the source does not accept events now")


def _check_method(method: str) -> None:
    if method != "POST":
        raise _RefusedError(_error(405, "the method must be POST", allow="POST"))


def _lines(body: bytes) -> Sequence[bytes]:
    lines = body.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def _one(body: bytes) -> Sequence[bytes]:
    return [body]


def _one_or_many(body: bytes) -> Sequence[Any]:
    return _many(body) if body.lstrip()[:1] == b"[" else _one(body)


def _many(body: bytes) -> Sequence[Any]:
    documents = parsed(body)
    if type(documents) is not list:
        raise InvalidEventError("must be a JSON array")
    return documents


def _decode_line(line: bytes, node: str) -> Any:
    if len(line) > MAX_LINE:
        raise InvalidEventError(f"a line must have at most {MAX_LINE:,} bytes")
    return decode_native(line, node)


_FORMS = {
    "application/json": _Form(decode_native, _one_or_many),
    "application/x-ndjson": _Form(_decode_line, _lines, is_lines=True),
    "application/jsonl": _Form(_decode_line, _lines, is_lines=True),
    "application/cloudevents+json": _Form(decode_cloudevent, _one),
    "application/cloudevents-batch+json": _Form(decode_cloudevent, _many),
}

_CONTENT_TYPE = re.compile(r"([^;\s]+)\s*(?:;\s*charset=\"?utf-?8\"?\s*)?", re.IGNORECASE)


def _form_of(headers: dict[str, str]) -> _Form:
    """Return how to read a body.

    Raises:
        _RefusedError: its content type or encoding is not supported.
    """
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        accepted = {"accept-encoding": "identity"}
        raise _RefusedError(_error(415, "the body must not be compressed", **accepted))
    match = _CONTENT_TYPE.fullmatch(headers.get("content-type", "").strip())
    form = None if match is None else _FORMS.get(match[1].lower())
    if form is None:
        reason = f"the content type must be one of {', '.join(_FORMS)}, in UTF-8"
        raise _RefusedError(_error(415, reason, connection="close"))
    return form
