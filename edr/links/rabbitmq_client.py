"""A connection to RabbitMQ that is made once and never repaired, with support for Kazoo's wire.

``aiormq`` implements AMQP. This module adds:

* **Time stamps.** Kazoo sets this property to microseconds since the year 0, where AMQP has seconds
  since 1970. ``KazooProperties`` writes the number as Kazoo does.
* **Reading.** One message with properties that the library cannot decode ends the connection: see
  ``rabbitmq_frames``.
* **Closing.** Closing waits for the broker, which may never answer. Here the wait is bounded, and
  the socket is closed in any case.
* **Blocked.** A broker that is short of memory announces it and stops reading from publishers. The
  library receives this but does not expose it.

Rejected: ``aio-pika``'s robust connection (it would bind queues again to an exchange that may be
another one, and reports dead connections as alive); its plain connection (more layers on the same
library, twice the time to publish, and no feature that is used here).
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import ssl
from contextlib import suppress
from struct import Struct
from typing import Any

import aiormq
import aiormq.exceptions as amqp
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.connection import (
    Connection,
    TCPTransportFactory,
    TLSTransportFactory,
    TransportFactory,
)
from pamqp.commands import Basic
from yarl import URL

from edr.links import address
from edr.links.errors import LinkError, LinkRefusedError
from edr.links.rabbitmq_frames import MAX_FRAME_SIZE, FrameReader
from edr.wire import kazoo

__all__ = [
    "BrokerConnection",
    "Channel",
    "DeliveredMessage",
    "KazooProperties",
    "address_of",
    "as_link_error",
]

HEARTBEAT = 10
"""Seconds, unless set in the URL. A broker that disappears is detected after three heartbeats, or
earlier by a publish or a request."""

CLOSE_WITHIN = 1.0
"""Seconds for the broker to answer that the connection is closed."""

# It logs an error for each attempt to connect; a link says so itself, and not each two seconds.
_log = logging.getLogger("aiormq")
if _log.level == logging.NOTSET:
    _log.setLevel(logging.CRITICAL)


_PORTS = {"amqp": 5672, "amqps": 5671}
_NUMBERS = {"heartbeat", "timeout"}
_OPTIONS = _NUMBERS | {"auth", "cadata", "cafile", "capath", "certfile", "keyfile", "name"}
_OPTIONS |= {"no_verify_ssl"}
"""The parameters of a URL that the library reads."""


def address_of(url: str) -> str:
    """Return a broker's address with its virtual host, without the user name and the password.

    Raises:
        ValueError: it is not the URL of a RabbitMQ. The message shows at most the scheme.
    """
    example = "amqp://host:port/vhost, or amqps://"
    vhost = address.split_url(url, _PORTS, example).path.rstrip("/")
    try:
        options = URL(url).query  # which is stricter, and shows the whole URL in its errors
    except ValueError:
        options = None
    if options is None:
        raise ValueError(f"a broker's URL must be {example}, got one that cannot be parsed")
    if not set(options) <= _OPTIONS:  # the library would ignore them
        raise ValueError(f"the options in a broker's URL must be of {', '.join(sorted(_OPTIONS))}")
    for name in _NUMBERS & set(options):
        if not options[name].isdecimal():  # the library would take it for 0
            raise ValueError(f"the option {name} in a broker's URL must be a number of seconds")
    return f"{address.address_of(url, _PORTS, example)}{vhost}"


class KazooProperties(Basic.Properties):
    """The properties of a message as Kazoo sets them: content type and time stamp, nothing else."""

    _FLAGS = Basic.Properties.flags["content_type"] | Basic.Properties.flags["timestamp"]
    _HEAD = (
        Struct(">H").pack(_FLAGS) + bytes([len(kazoo.CONTENT_TYPE)]) + kazoo.CONTENT_TYPE.encode()
    )
    _timestamp_of = Struct(">Q").pack

    def __init__(self, timestamp: int) -> None:
        # The library gives each message an id, if it has none, and here it stays behind.
        super().__init__(message_id="-")
        self._bytes = self._HEAD + KazooProperties._timestamp_of(timestamp)

    def marshal(self) -> bytes:
        """Return what stands in the frame."""
        return self._bytes


class BrokerTransport(TransportFactory):
    """Makes a transport that gives harmless frames, and can be closed whatever the library does."""

    def __init__(self, inner: TransportFactory) -> None:
        self._inner = inner
        self.transport: asyncio.WriteTransport | None = None
        self.frames: FrameReader | None = None

    async def create(
        self, url: URL, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self._inner.create(url, **options)
        self.transport = writer.transport
        self.frames = FrameReader(reader)
        return self.frames, writer  # type: ignore[return-value]  # it has what the library calls


class BrokerConnection:
    """One connection with one channel."""

    def __init__(self, url: str, name: str) -> None:
        parsed = URL(url)
        if "heartbeat" not in parsed.query:
            parsed = parsed.update_query(heartbeat=str(HEARTBEAT))
        is_tls = parsed.scheme == "amqps"
        self._factory = BrokerTransport(TLSTransportFactory() if is_tls else TCPTransportFactory())
        self._connection = Connection(
            parsed,
            transport_factory=self._factory,
            client_properties={"connection_name": name, "product": "edr"},
        )
        self.channel: Channel

    async def open(self, *, confirms: bool) -> Channel:
        """Connect, and open the channel."""
        await self._connection.connect()
        assert self._factory.frames is not None
        self._factory.frames.frame_max = (
            self._connection.connection_tune.frame_max or MAX_FRAME_SIZE
        )
        channel = await self._connection.channel(publisher_confirms=confirms)
        assert isinstance(channel, Channel)
        self.channel = channel
        return channel

    async def lost(self) -> None:
        """Wait until the connection or the channel is no more, and raise why."""
        ends = {self._connection.closing, self.channel.closing}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        for end in done:
            # Cancelled, or with the exception that it was closed with; the latter says more.
            if not end.cancelled() and end.exception() is not None:
                end.result()
        raise LinkError("the connection was lost")

    @property
    def is_blocked(self) -> bool:
        """Whether the broker said that it takes nothing at the moment."""
        waiting = self._connection.ready()  # returns at once unless it is
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    async def close(self) -> None:
        """Close the connection, in good order if the broker answers in time."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self._connection.close()
        finally:
            if self._factory.transport is not None:
                self._factory.transport.abort()
            await asyncio.sleep(0)


_REFUSED = (amqp.AuthenticationError, amqp.ProbableAuthenticationError, amqp.ChannelAccessRefused)
_REFUSED_AT_FIRST = (
    amqp.ChannelPreconditionFailed,
    amqp.ChannelLockedResource,
    amqp.ConnectionNotAllowed,
    amqp.IncompatibleProtocolError,
)


_TRANSIENT_TLS = (
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
)


def as_link_error(exc: Exception, *, connecting: bool) -> Exception:
    """Return ``LinkRefusedError`` if a retry would not help, else the most specific error.

    Args:
        exc: what the library raised.
        connecting: whether it was while asking for what is ours to ask for: then a queue or an
            exchange that is another than declared, or a virtual host that is not there, are final.
    """
    if connecting and isinstance(exc, amqp.InvalidFrameError) and "Connection.Close" in str(exc):
        # The library loses the broker's message.
        return LinkRefusedError(
            "RabbitMQ closed the connection as it was opened: is there such a virtual host, "
            "and may this user use it?"
        )
    if isinstance(exc, _REFUSED) or (connecting and isinstance(exc, _REFUSED_AT_FIRST)):
        return LinkRefusedError(f"RabbitMQ refuses: {_reason(exc)}")
    if connecting and _is_final(exc):
        return LinkRefusedError(f"the client cannot connect as it is set up: {_reason(exc)}")
    if isinstance(exc, TimeoutError):
        return LinkError("the broker did not answer in time")
    if isinstance(exc, aiormq.AMQPError):
        return LinkError(_reason(exc))
    return exc


def _is_final(exc: Exception) -> bool:
    """Return whether a retry cannot help: a CA, a file or an option of the URL is wrong."""
    final = (TypeError, binascii.Error, FileNotFoundError, IsADirectoryError, PermissionError)
    # The library replaces errors of the operating system by its own.
    return isinstance(exc, final) or any(
        isinstance(each, ssl.SSLError) and not isinstance(each, _TRANSIENT_TLS)
        for each in (exc, exc.__cause__)
    )


def _reason(exc: Exception) -> str:
    words = [str(each) for each in exc.args if isinstance(each, (str, OSError)) and str(each)]
    return "; ".join(words) or type(exc).__name__
