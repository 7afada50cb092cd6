"""``StreamReader``: a reading of a stream with a name, which the server remembers.

It is a durable consumer, which keeps what was given and not acknowledged. The server would give
that again after a time; it is set to a day, since who holds an entry may take long over it.
Instead, when a reader is opened, or is back after a lost connection, all that is out is **called
back** at once: the time is set to a moment, and then to a day again. What is still in hand is not
given twice.

Acks are sent each 0.1 s, and the last of them is answered: a server handles them in order.

Rejected: telling the server each half minute that every entry in hand is still being worked on (a
thousand messages for a reader that waits for a slow database).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

import orjson

from edr.bus import Gap
from edr.journal import Entry, JournalError, ReaderStatus, WrongJournal
from edr.links.link import LinkError
from edr.links.stream_api import Meta, StreamApi, StreamError
from edr.links.stream_reading import BATCH, Start, StreamJournal, StreamReading
from edr.links.subject import token
from edr.records import Binding, bindings_to_json

HELD_FOR = 86_400.0
"""Seconds after which the server gives an entry again of which it hears nothing."""

CALLED_BACK_AFTER = 0.001
"""Seconds for which that is set instead, to call everything back."""

CALLED_BACK_WITHIN = 0.25
"""Seconds after which the server has done so: it looks 0.1 after such a change."""

ACK_EACH = 0.1
"""Seconds after which an ack is on its way, at the latest."""

_NAME, _BINDINGS = "edr-reader", "edr-bindings"
_FAULTS = (LinkError, ConnectionError, TimeoutError, LookupError)


class StreamReader(StreamReading):
    """A reading with a name and a memory; see ``edr.journal.Reader``."""

    def __init__(
        self,
        journal: StreamJournal,
        name: str,
        bindings: tuple[Binding, ...],
        start: Literal["oldest", "now"] | int,
        max_unacked: int,
        *,
        rebind: bool,
    ) -> None:
        super().__init__(journal, bindings, Start(None, None, None), live=True)
        self.name = name
        self._begins = start
        self._rebind = rebind
        self._max_unacked = max_unacked
        self._batch = min(BATCH, max_unacked)
        self._consumer = consumer_of(name)
        self._wants = orjson.dumps(bindings_to_json(bindings)).decode()
        self._missed = 0
        self._held: dict[int, str] = {}
        """Entries that are not acknowledged: position -> where to say so."""
        self._acks: dict[int, str] = {}
        """Acks that are not stored yet."""
        self._acking: asyncio.Task[None] | None = None
        self._storing = asyncio.Lock()

    @property
    def missed(self) -> int:
        """Entries that it lost, since it was opened."""
        return self._missed

    async def open(self) -> None:
        """Make its consumer, or find it, and call back what is out.

        Raises:
            JournalError: it has other bindings; or the server cannot be asked.
            WrongJournal: it was to start at a position that the journal never gave.
        """
        try:
            await self._consume(await self._journal.connected())
        except (StreamError, ConnectionError, TimeoutError) as exc:
            raise JournalError(f"reader {self.name!r} cannot be opened now: {exc}") from exc

    async def _make(self, api: StreamApi) -> None:
        info = await api.info()
        self._first = info["state"]["first_seq"]
        consumer = await api.consumer(self._consumer)
        if consumer is not None:
            consumer = await self._resume(api, consumer)
        elif self._is_placed:
            raise JournalError(f"reader {self.name!r} was forgotten while it was open")
        else:
            last = info["state"]["last_seq"]
            after = last if self._begins == "now" else self._begins
            if after != "oldest" and after > last:
                raise WrongJournal(after, self._journal.id)
            consumer = await api.make_consumer(self._consumer, self._config(after))
        self._compare_filters(consumer)
        self._next = consumer["delivered"]["consumer_seq"] + 1
        seen = self._position
        if not self._is_placed:
            self._is_placed = True
            self._position = consumer["delivered"]["stream_seq"]
            seen = consumer["ack_floor"]["stream_seq"]
        lost = self._first - 1 - seen
        if lost > 0:
            self._position = max(self._position, self._first - 1)
            self._ready.append(Gap(lost))
            self._missed += lost
        self._note_pending(consumer, info)

    def _config(self, after: Literal["oldest"] | int) -> dict[str, Any]:
        begins: dict[str, Any] = {"deliver_policy": "all"}
        if after != "oldest":
            begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        return {
            **begins,
            "durable_name": self._consumer,
            "ack_policy": "explicit",
            "ack_wait": int(HELD_FOR * 1e9),
            "max_ack_pending": self._max_unacked,
            "filter_subjects": self._filters,
            "metadata": {_NAME: self.name, _BINDINGS: self._wants},
        }

    async def _resume(self, api: StreamApi, consumer: dict[str, Any]) -> dict[str, Any]:
        config = consumer["config"]
        metadata = config.get("metadata") or {}
        if metadata.get(_NAME) != self.name:
            raise JournalError(f"consumer {self._consumer!r} is none of a journal's readers")
        if metadata.get(_BINDINGS) != self._wants:
            if not self._rebind:
                raise JournalError(
                    f"reader {self.name!r} has the bindings {metadata.get(_BINDINGS)}; "
                    "rebind=True gives it others"
                )
            # A new one: the server has moved the old one past what it gave ahead.
            await api.delete_consumer(self._consumer)
            floor = consumer["ack_floor"]["stream_seq"]
            return await api.make_consumer(self._consumer, self._config(floor))
        config["max_ack_pending"] = self._max_unacked
        if consumer["num_ack_pending"]:
            moment = {**config, "ack_wait": int(CALLED_BACK_AFTER * 1e9)}
            await api.make_consumer(self._consumer, moment, "update")
            await asyncio.sleep(CALLED_BACK_WITHIN)
        config["ack_wait"] = int(HELD_FOR * 1e9)
        return await api.make_consumer(self._consumer, config, "update")

    def _lose(self, count: int) -> None:
        super()._lose(count)
        self._missed += max(0, count)

    async def _let_go(self, api: StreamApi) -> None:
        await self._store_acks()
        await api.connection.unlisten(self._number)
        await api.connection.fence(self._journal.timeout)

    async def aclose(self) -> None:
        """Store its acks, and end it; nothing is forgotten. Idempotent."""
        if self._acking is not None:
            self._acking.cancel()
        await super().aclose()

    # Acknowledging

    def _read(self, meta: Meta, subject: bytes, reply: bytes, payload: bytes) -> None:
        # What was called back, but is still in hand, or done with, is not given twice.
        if meta.position not in self._held and meta.position not in self._acks:
            super()._read(meta, subject, reply, payload)

    def _give(self, entry: Entry, reply: bytes) -> None:
        self._held[entry.position] = reply.decode()
        super()._give(entry, reply)

    def _pass_over(self, position: int, reply: bytes) -> None:
        self._say(position, reply.decode())

    def ack(self, entry: Entry) -> None:
        """Say that ``entry`` was handled; stored within 0.1 s.

        Raises:
            JournalError: the reader is closed, or has never given this entry.
        """
        reply = self._taken_back(entry)
        if reply is not None:
            self._say(entry.position, reply)

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Ask for ``entry`` again, in ``delay`` seconds or later.

        Raises:
            JournalError: as ``ack``.
        """
        if delay < 0:
            raise ValueError(f"a delay is 0 seconds or more, not {delay}")
        reply = self._taken_back(entry)
        if reply is not None and self._api is not None:
            with suppress(ConnectionError):  # with the connection, all that is out is called back
                self._api.connection.publish_nowait(
                    reply, b'-NAK {"delay":%d}' % max(1, int(delay * 1e9))
                )

    def _taken_back(self, entry: Entry) -> str | None:
        if self._closed:
            raise JournalError(f"reader {self.name!r} is closed")
        if entry.position > self._position:
            raise JournalError(f"reader {self.name!r} has never given position {entry.position}")
        return self._held.pop(entry.position, None)

    def _say(self, position: int, reply: str) -> None:
        self._acks[position] = reply
        if self._acking is None or self._acking.done():
            self._acking = asyncio.get_running_loop().create_task(self._store_soon())

    async def _store_soon(self) -> None:
        while self._acks:
            await asyncio.sleep(ACK_EACH)
            with suppress(*_FAULTS):
                await self._store_acks()

    async def flush(self) -> None:
        """Return when all acks so far are stored.

        Raises:
            JournalError: they could not be stored now; it goes on trying.
        """
        try:
            await self._store_acks()
        except _FAULTS as exc:
            raise JournalError(f"reader {self.name!r} cannot store its acks now: {exc}") from exc

    async def _store_acks(self) -> None:
        """Send the acks; the last one is answered, when the server has taken them all."""
        async with self._storing:
            if not self._acks:
                return
            if self._api is None:
                raise ConnectionError("there is no connection")
            connection = self._api.connection
            *earlier, last = acks = list(self._acks)
            for position in earlier:
                connection.publish_nowait(self._acks[position], b"+ACK")
            await connection.ask(self._acks[last], b"+ACK", self._journal.timeout)
            for position in acks:
                del self._acks[position]


def consumer_of(name: str) -> str:
    """Return the server's name of the reader ``name``.

    Raises:
        ValueError: no reader can have that name.
    """
    if not name or len(name) > 128 or not name.isprintable():  # noqa: PLR2004 - see Journal.reader
        raise ValueError(f"the name of a reader is up to 128 printable characters, not {name!r}")
    return token(name)


def reader_status(
    consumer: Mapping[str, Any], last: int, readers: Mapping[str, StreamReader]
) -> ReaderStatus | None:
    """Return the state of a reader; None if it is a consumer of somebody else's."""
    metadata = consumer["config"].get("metadata") or {}
    name = metadata.get(_NAME)
    if name is None:
        return None
    floor = consumer["ack_floor"]
    at = floor.get("last_active")
    return ReaderStatus(
        name=name,
        position=floor["stream_seq"],
        lag=last - floor["stream_seq"],
        unacked=consumer["num_ack_pending"],
        missed=readers[name].missed if name in readers else 0,
        last_ack=None if at is None else datetime.fromisoformat(at),
        open=name in readers,
    )
