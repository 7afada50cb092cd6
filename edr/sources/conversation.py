"""``Conversation``: reads JSON lines from one peer, stores their events, and answers.

All lines of one read are stored together, with one wait for the journal. The next read follows
after it. So a peer never has more than one read of unstored lines here, and a journal without room
stops the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from edr.errors import EdrError, InvalidEventError
from edr.records import Event
from edr.sources.answers import Answer, Reply
from edr.sources.documents import decode_native
from edr.sources.ingest import Document, Ingest
from edr.sources.lines import MAX_LINE, LineSplitter
from edr.sources.reading import InputReader
from edr.sources.senders import LOCAL, Sender
from edr.sources.source import Counts

READ_SIZE = 2**18
"""Bytes of one read: about 800 events, which share a commit."""


class Conversation:
    """One peer.

    Args:
        ingest: stores the events.
        reader: the lines of the peer.
        write: sends an answer.
        counts: of the source.
        sender: the rights of the peer.
        answers_blank_lines: answer at each blank line, not only at the end of the input.
        tries_again: publish events again until the journal stores them, or ``stop``. For a peer
            that cannot send them again.
        idle_timeout: seconds without a byte after which the conversation ends; ``None`` for no
            limit. The time in which the journal has no room does not count.
    """

    def __init__(
        self,
        ingest: Ingest,
        reader: InputReader,
        write: Callable[[Answer], Awaitable[None]],
        counts: Counts,
        *,
        sender: Sender = LOCAL,
        answers_blank_lines: bool = True,
        tries_again: bool = False,
        idle_timeout: float | None = None,
    ) -> None:
        self._ingest = ingest
        self._reader = reader
        self._write = write
        self._counts = counts
        self._sender = sender
        self._answers_blank_lines = answers_blank_lines
        self._tries_again = tries_again
        self._idle_timeout = idle_timeout
        self._lines = LineSplitter()
        self._reply = Reply()
        self._waiting: asyncio.Timeout | None = None
        """The wait for room that ``stop`` ends."""

    def stop(self) -> None:
        """Stop reading. ``run`` stores and answers the lines that were read, and returns."""
        self._reader.stop()
        if self._waiting is not None:
            with suppress(RuntimeError):  # it is ending already
                self._waiting.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> bool:
        """Read until the end of the input, ``stop``, a fault or the idle timeout; answer the rest.

        Returns:
            Whether the input has ended. Otherwise the peer may be sending.

        Cancellation: lines without an answer may or may not be stored.

        Raises:
            OSError: the peer cannot be read or written.
        """
        is_answered = False
        while True:
            data = await self._read()
            if data:
                lines = self._lines.feed(data)
            else:
                # After a stop, the rest may be a part of a line.
                is_cut = self._reader.is_stopped or self._reply.not_stored is not None
                lines = [] if is_cut else self._lines.rest()
            documents, ended = self._documents_of(lines)
            has_failed = await self._store(documents)
            for reply in ended:
                is_answered = True
                await self._write(reply.answer())
            if has_failed or not data:
                break
        if self._reader.is_stopped:
            self._reply.fail(self._reply.lines + 1, "the source has stopped")
        if self._reply.lines or self._reply.not_stored or not is_answered:
            await self._write(self._reply.answer())
        return self._reply.not_stored is None

    async def _read(self) -> bytes:
        """Return the next bytes, once the journal has room; none at the end."""
        if self._reader.is_stopped:
            return b""
        try:
            async with asyncio.timeout(None) as self._waiting:
                await self._ingest.ready()
        except TimeoutError:
            if not self._reader.is_stopped:  # it came from the journal
                raise
        except EdrError as exc:  # the journal was closed
            self._reply.fail(self._reply.lines + 1, str(exc))
            return b""
        finally:
            self._waiting = None
        limit = asyncio.timeout(self._idle_timeout)
        try:
            async with limit:
                return await self._reader.read(READ_SIZE)
        except TimeoutError:
            if not limit.expired():  # it came from the peer
                raise
            reason = f"the connection was idle for {self._idle_timeout:g} s"
            self._reply.fail(self._reply.lines + 1, reason)
            return b""

    def _documents_of(self, lines: Iterable[bytes | None]) -> tuple[list[Document], list[Reply]]:
        """Return the documents of ``lines``, and the replies that blank lines have ended."""
        documents: list[Document] = []
        ended: list[Reply] = []
        for line in lines:
            if line is not None and not line.strip():
                if self._answers_blank_lines:
                    ended.append(self._reply)
                    self._reply = Reply()
                else:
                    self._reply.add_line()
                continue
            documents.append(Document(self._reply, self._reply.add_line(), line))
        return documents, ended

    async def _store(self, documents: list[Document]) -> bool:
        """Store the events of ``documents``; return whether the journal has failed."""
        if not documents:
            return self._reply.not_stored is not None
        stored = await self._ingest.store(
            documents,
            sender=self._sender,
            decode=_decode_line,
            tries_again=lambda: self._tries_again and not self._reader.is_stopped,
        )
        self._counts.add(stored)
        return stored.error is not None


def _decode_line(line: bytes | None, node: str) -> Event:
    if line is None:
        raise InvalidEventError(f"a line must have at most {MAX_LINE:,} bytes")
    return decode_native(line, node)
