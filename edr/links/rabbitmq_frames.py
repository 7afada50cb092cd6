"""``FrameReader``: makes each frame of a broker harmless before the client reads it.

``aiormq`` reads from any object that has ``readexactly``, ``read`` and ``at_eof``, which is what a
transport factory returns. This one is between the socket and the library. The library closes the
connection at anything that it cannot decode, and a message that ended its connection comes again on
the next one, without end if its queue is durable. So:

* **Properties** of a message are blanked: the library does not decode them. A link needs none of
  them, and strangers set them: a correlation id that is not UTF-8, a table of a type that the
  library does not know, Kazoo's time stamps, which are microseconds since the year 0.
* **Texts** that are not UTF-8 lose their bytes above 0x7F: the routing key of a message, and the
  reason for which the broker closes something, which it cuts off after 255 bytes.
* **Sizes** are bounded. The library does not check the length of a frame: a port that does not
  speak AMQP can make it wait for 4 GB.

All sizes stay as they are, so the library checks the rest of a frame as before.
"""

from __future__ import annotations

import asyncio
from struct import Struct

from edr.links.errors import LinkError

FIRST_FRAME_MAX = 131_072
"""Bytes of a frame until the broker has said what its frames have at most: RabbitMQ's default."""

MAX_FRAME_SIZE = 128 * 1024 * 1024
"""Bytes of a frame that are accepted from a broker that does not bound its frames."""

_METHOD, _HEADER, _END = 1, 2, 0xCE
_HEAD = Struct(">BHI")
_INDEX = Struct(">HH")
_DELIVER = (60, 60)
_CLOSES = {(10, 50), (20, 40)}
_PROPERTIES = 12
"""Where a content header has the flags of its properties, after class, weight and body size."""

_ASCII = bytes(range(128)) + b"?" * 128


class FrameReader:
    """Reads whole frames from ``reader``, and gives their bytes to the library."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.frame_max: int = FIRST_FRAME_MAX
        """Bytes of a frame with its head and its end, at most."""
        self._reader = reader
        self._frame = b""
        self._at = 0

    def at_eof(self) -> bool:
        """Return whether there is nothing more to read."""
        return self._at >= len(self._frame) and self._reader.at_eof()

    async def readexactly(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            LinkError: what comes is longer than a frame may be.
            IncompleteReadError: the connection ended first.
        """
        end = self._at + count
        while end > len(self._frame):
            self._frame = self._frame[self._at :] + await self._next_frame()
            self._at, end = 0, count
        found = self._frame[self._at : end]
        self._at = end
        return found

    async def read(self, count: int = -1) -> bytes:
        """Return what is left of the frame."""
        end = len(self._frame) if count < 0 else min(len(self._frame), self._at + count)
        found = self._frame[self._at : end]
        self._at = end
        return found

    async def _next_frame(self) -> bytes:
        head = await self._reader.readexactly(_HEAD.size)
        if head.startswith(b"AMQP"):  # the broker speaks another version, and says so in 8 bytes
            return head + await self._reader.readexactly(1)
        kind, _, size = _HEAD.unpack(head)
        if size + _HEAD.size + 1 > self.frame_max:
            raise LinkError(
                f"what answers sent a frame of {size} bytes, more than {self.frame_max}: "
                "it does not speak AMQP"
            )
        frame = head + await self._reader.readexactly(size + 1)
        if kind == _HEADER:
            return _without_properties(frame)
        if kind == _METHOD:
            return _with_texts(frame)
        return frame


def _without_properties(frame: bytes) -> bytes:
    """Return a content header in which no property is set."""
    flags = _HEAD.size + _PROPERTIES
    if len(frame) < flags + 3:  # too short for its flags; the library says so
        return frame
    return frame[:flags] + b"\0\0" + frame[flags + 2 :]


def _with_texts(frame: bytes) -> bytes:
    """Return a method frame in which the texts that other programs set are UTF-8."""
    if len(frame) < _HEAD.size + _INDEX.size:
        return frame
    method = _INDEX.unpack_from(frame, _HEAD.size)
    at = _HEAD.size + _INDEX.size
    try:
        if method == _DELIVER:  # consumer tag, delivery tag and a bit; exchange, routing key
            exchange = at + 1 + frame[at] + 9
            key = exchange + 1 + frame[exchange]
            return _with_text(_with_text(frame, exchange), key)
        if method in _CLOSES:  # code, text
            return _with_text(frame, at + 2)
    except IndexError:  # cut short; the library says so
        pass
    return frame


def _with_text(frame: bytes, at: int) -> bytes:
    """Return ``frame`` with a short text at ``at`` that is UTF-8, of the same length."""
    start, end = at + 1, at + 1 + frame[at]
    text = frame[start:end]
    if text.isascii():
        return frame
    try:
        text.decode()
    except UnicodeDecodeError:
        return frame[:start] + text.translate(_ASCII) + frame[end:]
    return frame
