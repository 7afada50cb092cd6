"""Requests to the API of JetStream: one stream, its consumers, their messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from edr.links.errors import LinkError
from edr.links.nats_client import Connection

NO_SUCH_STREAM = 10059
NO_SUCH_CONSUMER = 10014
NOT_STORED = 10077
"""The stream is full, by bytes, messages, or the server's own disk."""
ACCOUNT_FULL = 10002
SEALED = 10109
_FULL = {NOT_STORED, ACCOUNT_FULL, 10023, 10028, 10047}
"""Of the stream, the account, the server, its memory, its storage."""
_TOO_MANY_REQUESTS = 429

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_new_meta = tuple.__new__


class StreamError(LinkError):
    """JetStream refused a request.

    Attributes:
        status: the HTTP status.
        code: the error code of JetStream.
        words: its description.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.status: int = int(error.get("code", 500))
        self.code: int = int(error.get("err_code", 0))
        self.words: str = str(error.get("description", "no reason given"))
        super().__init__(f"JetStream: {self.words} ({self.code})")

    @property
    def is_temporary(self) -> bool:
        """Whether the same may succeed later: something is full, or a server is not ready."""
        return self.is_full or self.status >= 500 or self.status == _TOO_MANY_REQUESTS  # noqa: PLR2004

    @property
    def is_full(self) -> bool:
        """Whether the stream, the account or the server is full."""
        return self.code in _FULL

    @property
    def is_about_stream(self) -> bool:
        """Whether the stream cannot store any event."""
        return self.code in {SEALED, NO_SUCH_STREAM}


class MessageMetadata(NamedTuple):
    """The metadata in the reply subject of a message from a consumer."""

    delivery: int
    position: int
    consumer_position: int
    recorded_at: datetime
    pending: int
    """Matching messages after this one."""


def parse_reply(reply: bytes) -> MessageMetadata:
    """Read ``$JS.ACK.<stream>.<consumer>.…``, or its newer form with domain and account."""
    words = reply.split(b".")
    first = 4 if len(words) == 9 else 6  # noqa: PLR2004
    delivery, position, consumer_position, nanoseconds, pending = map(int, words[first : first + 5])
    # Not the constructor of MessageMetadata: it is a Python function, called for each message.
    return _new_meta(
        MessageMetadata,
        (
            delivery,
            position,
            consumer_position,
            _EPOCH + timedelta(0, 0, nanoseconds // 1000),
            pending,
        ),
    )


class StreamApi:
    """The API of one stream, over one connection."""

    def __init__(self, connection: Connection, stream: str, timeout: float) -> None:
        self.connection = connection
        self._stream = stream
        self._timeout = timeout

    async def info(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the stream's configuration and state, within ``timeout`` if that is shorter."""
        return await self._ask(f"STREAM.INFO.{self._stream}", timeout=timeout)

    async def make(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Make the stream."""
        return await self._ask(f"STREAM.CREATE.{self._stream}", config)

    async def create_consumer(
        self, name: str, config: Mapping[str, Any], action: str = "create"
    ) -> dict[str, Any]:
        """Make a consumer, or with ``action="update"`` change one."""
        request = {
            "stream_name": self._stream,
            "config": {"name": name, **config},
            "action": action,
        }
        return await self._ask(f"CONSUMER.CREATE.{self._stream}.{name}", request)

    async def consumer(self, name: str) -> dict[str, Any] | None:
        """Return a consumer's configuration and state, or None."""
        try:
            return await self._ask(f"CONSUMER.INFO.{self._stream}.{name}")
        except StreamError as exc:
            if exc.code == NO_SUCH_CONSUMER:
                return None
            raise

    async def consumers(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the state of every consumer."""
        seen, total = 0, 1
        while seen < total:
            page = await self._ask(f"CONSUMER.LIST.{self._stream}", {"offset": seen})
            total = page["total"]
            consumers = page["consumers"] or ()
            if not consumers:
                return
            for consumer in consumers:
                seen += 1
                yield consumer

    async def delete_consumer(self, name: str) -> None:
        """Delete a consumer.

        Raises:
            StreamError: it does not exist.
        """
        await self._ask(f"CONSUMER.DELETE.{self._stream}.{name}")

    def pull(self, name: str, count: int, seconds: float, reply: str) -> None:
        """Request up to ``count`` messages of a consumer, within ``seconds``."""
        self.connection.publish_nowait(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{name}",
            b'{"batch":%d,"expires":%d}' % (count, int(seconds * 1e9)),
            reply,
        )

    async def _ask(
        self, verb: str, request: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        limit = self._timeout if timeout is None else min(timeout, self._timeout)
        try:
            answer = await self.connection.ask(
                f"$JS.API.{verb}", orjson.dumps(request) if request else b"", limit
            )
        except LookupError as exc:
            words = "JetStream is not enabled on this server, or for this account"
            raise StreamError({"code": 503, "description": words}) from exc
        document: dict[str, Any] = orjson.loads(answer)
        if "error" in document:
            raise StreamError(document["error"])
        return document
