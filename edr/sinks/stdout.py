"""``StdoutSink``: events as lines on standard output, for a pipe, a container or a service manager.

A reader that does not read blocks a write. So bytes are written only while the descriptor accepts
them, in pieces that a pipe takes without blocking, and a cancelled write ends soon.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence

from edr.records import Event
from edr.sinks.encoding import Encoded, Encoder
from edr.sinks.errors import RetryError
from edr.sinks.files import describe, in_thread

PIECE = 4096
"""Bytes that Linux writes to a pipe without blocking, if it is writable at all."""

CHECK_INTERVAL = 100
"""Milliseconds after which a blocked write looks whether it was cancelled."""


class StdoutSink:
    """Writes events to standard output, one line each.

    A write that failed is repeated whole, after the end of an incomplete line.

    Args:
        encode: returns a batch as lines; by default ``Encoder(lines=True)``, edr's own JSON.
        descriptor: the file descriptor.
    """

    def __init__(
        self,
        *,
        encode: Callable[[Sequence[Event]], Encoded] | None = None,
        descriptor: int = 1,
    ) -> None:
        self._encode = encode or Encoder(lines=True)
        self._descriptor = descriptor
        self._is_incomplete = False

    def __repr__(self) -> str:
        return "<StdoutSink>"

    async def open(self) -> None:
        """Do nothing: the descriptor is open."""

    async def write(self, batch: Sequence[Event]) -> None:
        """Write ``batch``.

        Raises:
            RetryError: it was not written as a whole; with ``slow`` if the reader is gone.
            RejectError: some events cannot be encoded.
        """
        data = self._encode(batch).data
        if not data.endswith(b"\n"):
            data += b"\n"
        stop = threading.Event()
        try:
            await in_thread(self._write, data, stop, on_cancel=stop.set)
        except OSError as exc:
            is_gone = isinstance(exc, BrokenPipeError)
            raise RetryError(describe(exc, "standard output"), slow=is_gone) from exc

    async def aclose(self) -> None:
        """Do nothing: the descriptor belongs to the process."""

    def _write(self, data: bytes, stop: threading.Event) -> None:
        if self._is_incomplete:
            data = b"\n" + data
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        view = memoryview(data)
        while view and not stop.is_set():
            if not poll.poll(CHECK_INTERVAL):
                continue
            try:
                written = os.write(self._descriptor, view[:PIECE])
            except BlockingIOError:
                continue
            view = view[written:]
            # A cancelled write may have ended within a line.
            self._is_incomplete = bytes(data[len(data) - len(view) - 1 :][:1]) != b"\n"
