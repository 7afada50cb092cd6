"""``StreamConsumer``: a reading of a stream with a name, which the server remembers.

It is a durable server_consumer, which keeps the entries that were given and not acknowledged. The
server gives them again after ``ack_wait``. This is set to a day, since handling an entry may take
long. When a consumer is opened, or is back after a lost connection, all entries that are out are
**called
back** at once: ``ack_wait`` is set to a moment, and then to a day again. Entries that the consumer
still holds are not given twice.

Acks are sent each 0.1 s, or when a quarter of what may be out has come together, and the last of
them is answered: a server handles them in order.

Entries that the server has sent ahead, and the consumer has not given, are not delivered yet. The
server does not report entries that retention removes, also of those sent ahead. So when the
consumer is closed, the server_consumer's metadata gets its position, how far it is done, how many
entries before its position are unacknowledged, and what it missed. After the position, each hole
shows. If retention has removed entries before it, fewer are called back than were out.

After a crash there is no such record, only a mark: up to where the consumer was done, written after
each loss and before retention reaches the last mark. If retention has passed the mark, the gap
counts all entries after it that were removed, also those that had been acknowledged since.

Rejected: telling the server each half minute that every entry in hand is still being worked on (a
thousand messages for a consumer that waits for a slow database).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from edr.bus import Gap
from edr.journal import ConsumerStatus, Entry, JournalError, WrongJournalError
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.stream_api import Meta, StreamApi, meta_of
from edr.links.stream_cursor import BATCH, LOOK_EACH, Start, StreamCursor, StreamJournal
from edr.links.stream_horizon import LONG_AGO
from edr.links.subject import token
from edr.records import Binding, bindings_to_json

HELD_FOR = 86_400.0
"""Seconds after which the server gives an entry again of which it hears nothing."""

CALLED_BACK_AFTER = 0.001
"""Seconds for which that is set instead, to call everything back."""

CALLED_BACK_WITHIN = 0.25
"""Seconds after which the server has done so: it looks 0.1 after such a change."""

LONGEST_NAME = 128

ACK_EACH = 0.1
"""Seconds after which an ack is on its way, at the latest."""

# What is written into the metadata of a consumer's server_consumer.
_NAME, _BINDINGS = "edr-consumer", "edr-bindings"
_GIVEN, _DONE, _MISSED = "edr-given", "edr-done", "edr-missed"
_AT, _OUT, _MARK = "edr-at", "edr-out", "edr-mark"
_UNTOLD = "edr-untold"
_AT_CLOSE = (_AT, _OUT, _GIVEN, _DONE)
_FAULTS = (LinkError, ConnectionError, TimeoutError, LookupError)


class _Held(NamedTuple):
    """What is known of an entry that was given."""

    event_id: str
    reply: str
    """Where to say what becomes of it."""


class StreamConsumer(StreamCursor):
    """A reading with a name and a memory; see ``edr.journal.Consumer``."""

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
        self._at_once = 1  # an entry that is ready counts as given
        self._server_consumer = consumer_of(name)
        self._wants = _written(bindings)
        self._settings: dict[str, Any] = {}
        self._missed = 0
        self._given = 0
        """The newest position that was ever given, as far as is known."""
        self._given_ahead: dict[int, int] = {}
        """How often the server gave an entry before the consumer did."""
        self._held: dict[int, _Held] = {}
        """Entries that are not acknowledged, by their position."""
        self._acks: dict[int, str] = {}
        """Acks that are not stored yet: position -> where to say so."""
        self._acked: dict[int, None] = {}
        """What was acknowledged lately: the server may have given it again just before."""
        self._looked_at_newest = 0
        self._awaited = 0
        """Entries that were out when it was opened, and have not come again."""
        self._called_back = 0
        """Entries that the server was asked to give again, and has not given yet."""
        self._delivered = 0
        """The last position of those."""
        self._resumed_at = 0
        """The last position of the awaited ones."""
        self._done_before = 0
        """What it was done with when it was opened."""
        self._must_mark = False
        """Whether the server is to be told of a loss, once the gap was taken."""
        self._marked = 0
        """Up to where it is done, as the server knows."""
        self._marking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._acking: asyncio.Task[None] | None = None
        self._storing = asyncio.Lock()

    @property
    def missed(self) -> int:
        """Entries that it lost, since it was made."""
        return self._missed

    @property
    def unacked(self) -> int:
        """Entries that were given and are not acknowledged."""
        return len(self._held)

    async def open(self) -> None:
        """Make its server_consumer, or find it, and call back what is out.

        Raises:
            JournalError: it has other bindings; or the server cannot be asked.
            WrongJournalError: it was to start at a position that the journal never gave.
        """
        try:
            await self._consume(await self._journal.connected())
        except _FAULTS as exc:
            raise JournalError(f"consumer {self.name!r} cannot be opened now: {exc}") from exc

    async def _make(self, api: StreamApi) -> None:
        await self._ask_stream(api)
        server_consumer = await api.consumer(self._server_consumer)
        if server_consumer is not None:
            server_consumer = await self._resume(api, server_consumer)
        elif self._is_placed:
            raise JournalError(f"consumer {self.name!r} was forgotten while it was open")
        else:
            last = self._horizon.last
            after = last if self._begins == "now" else self._begins
            if after != "oldest" and after > last:
                raise WrongJournalError(after, self._journal.id)
            server_consumer = await api.make_consumer(self._server_consumer, self._config(after))
        self._settings = server_consumer["config"]
        self._compare_filters(server_consumer)
        self._next = server_consumer["delivered"]["consumer_seq"] + 1
        if self._is_placed:
            self._forget_lost()
        else:
            self._is_placed = True
            self._place(server_consumer)
        self._called_back = server_consumer["num_ack_pending"]
        self._delivered = server_consumer["delivered"]["stream_seq"]
        self._note_pending(server_consumer)

    def _place(self, server_consumer: Mapping[str, Any]) -> None:
        """Take up where the consumer was."""
        metadata = server_consumer["config"]["metadata"]
        delivered = server_consumer["delivered"]["stream_seq"]
        self._missed = int(metadata.get(_MISSED, 0))
        self._marked = int(metadata.get(_MARK) or 0)
        untold = int(metadata.get(_UNTOLD) or 0)
        if untold:  # counted when it was lost
            self._ready.append(Gap(untold))
            self._must_mark = True
        if metadata.get(_AT):
            self._position = int(metadata[_AT])
            self._given = int(metadata[_GIVEN])
            self._done_before = int(metadata[_DONE])
            self._awaited = int(metadata[_OUT])
        else:
            self._position = self._given = delivered
            floor = server_consumer["ack_floor"]["stream_seq"]
            self._done_before = min(self._marked, floor) if metadata.get(_MARK) else floor
            self._awaited = server_consumer["num_ack_pending"]
            gone = min(self._horizon.first - 1, delivered)
            if gone > self._done_before:  # which of them were acknowledged is not known any more
                self._tell_lost(gone - self._done_before)
                self._done_before = gone
        self._resumed_at = self._position
        if self._horizon.first - 1 > self._position:
            lost, self._awaited = self._awaited, 0
            self._tell_lost(lost + self._horizon.first - 1 - self._position)
            self._position = self._horizon.first - 1

    def _config(self, after: Literal["oldest"] | int) -> dict[str, Any]:
        begins: dict[str, Any] = {"deliver_policy": "all"}
        if after != "oldest":
            begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        return {
            **begins,
            "durable_name": self._server_consumer,
            "ack_policy": "explicit",
            "ack_wait": int(HELD_FOR * 1e9),
            "max_ack_pending": self._max_unacked,
            "filter_subjects": self._filters,
            "metadata": {
                _NAME: self.name,
                _BINDINGS: self._wants,
                _MISSED: str(self._missed),
                _MARK: str(max(0, self._horizon.first - 1) if after == "oldest" else after),
            },
        }

    async def _resume(self, api: StreamApi, server_consumer: dict[str, Any]) -> dict[str, Any]:
        config = server_consumer["config"]
        metadata = config.get("metadata") or {}
        if metadata.get(_NAME) != self.name:
            raise JournalError(
                f"server_consumer {self._server_consumer!r} is none of a journal's consumers"
            )
        if metadata.get(_BINDINGS) != self._wants:
            if not self._rebind:
                raise JournalError(
                    f"consumer {self.name!r} has other bindings, {metadata.get(_BINDINGS)}; "
                    "rebind=True changes them"
                )
            self._missed = int(metadata.get(_MISSED, 0))
            # A new one: the server has moved the old one past what it gave ahead.
            await api.delete_consumer(self._server_consumer)
            floor = server_consumer["ack_floor"]["stream_seq"]
            return await api.make_consumer(self._server_consumer, self._config(floor))
        config["max_ack_pending"] = self._max_unacked
        if server_consumer["num_ack_pending"]:
            moment = {**config, "ack_wait": int(CALLED_BACK_AFTER * 1e9)}
            await api.make_consumer(self._server_consumer, moment, "update")
            await asyncio.sleep(CALLED_BACK_WITHIN)
        config["ack_wait"] = int(HELD_FOR * 1e9)
        # Until it is closed in good order, the server alone knows what is out.
        mark = {_MARK: metadata[_DONE]} if metadata.get(_DONE) else {}
        config["metadata"] = {**metadata, **mark, **dict.fromkeys(_AT_CLOSE, "")}
        made = await api.make_consumer(self._server_consumer, config, "update")
        made["num_ack_pending"] = server_consumer["num_ack_pending"]
        made["config"]["metadata"].update(
            {key: metadata[key] for key in _AT_CLOSE if key in metadata}
        )
        return made

    async def _let_go(self, api: StreamApi) -> None:
        await self._store_acks()
        known = {
            _AT: self._position,
            _GIVEN: self._given,
            _OUT: len(self._held) + self._awaited,
            _DONE: self._done,
            _MISSED: self._missed,
            _UNTOLD: self._untold,
        }
        await self._write(api, known)
        await api.connection.unlisten(self._number)
        await api.connection.fence(self._journal.timeout)

    async def _write(self, api: StreamApi, known: Mapping[str, int]) -> None:
        """Write ``known`` into the server_consumer's metadata."""
        written = {key: str(value) for key, value in known.items()}
        settings = {**self._settings, "metadata": {**self._settings["metadata"], **written}}
        await api.make_consumer(self._server_consumer, settings, "update")
        self._settings = settings

    @property
    def _untold(self) -> int:
        """Entries of the gaps that were not taken yet."""
        return sum(item.missed for item in self._ready if isinstance(item, Gap))

    @property
    def _done(self) -> int:
        """Up to where every entry was acknowledged, or was not wanted."""
        if self._awaited:
            return min(self._done_before, min(self._held, default=self._position + 1) - 1)
        return min(self._held, default=self._position + 1) - 1

    def pulse(self) -> None:
        """Renew the mark for a crash, before retention reaches it."""
        middle = (self._journal.first + self._journal.newest) // 2
        if self._marked < middle and self._horizon.can_lose:
            self._mark()

    def _mark(self) -> None:
        """Send the server, soon, the position up to which the consumer is done, and its losses."""
        is_marking = self._marking is not None and not self._marking.done()
        is_new = self._must_mark or self._done > self._marked
        if self._api is not None and is_new and not is_marking and not self._untold:
            self._must_mark = False
            known = {_MARK: self._done, _MISSED: self._missed, _UNTOLD: 0}
            marking = self._write_mark(self._api, known)
            self._marking = asyncio.get_running_loop().create_task(marking)

    async def _write_mark(self, api: StreamApi, known: Mapping[str, int]) -> None:
        with suppress(*_FAULTS):
            await self._write(api, known)
            self._marked = known[_MARK]

    async def aclose(self) -> None:
        """Store its acks, within the journal's ``timeout``, and end it. Idempotent.

        Raises:
            JournalError: acks could not be stored, so these entries come again.
        """
        if self._closed:
            return
        tasks = [task for task in (self._acking, self._marking) if task is not None]
        for task in tasks:
            task.cancel()
        words = (
            "consumer %r was closed with %d acks that could not be stored; these entries come again"
        )
        try:
            if tasks:
                await asyncio.wait(tasks)
            await super().aclose()
        finally:
            if self._acks:
                logger.error(words, self.name, len(self._acks))
        if self._acks:
            raise JournalError(words % (self.name, len(self._acks)))

    async def _leave(self) -> None:
        if self._acks:
            with suppress(*_FAULTS, JournalError):
                async with asyncio.timeout(self._journal.timeout):
                    await self._journal.connected()
                    await self._store_acks()
        await super()._leave()

    # Its messages

    async def _take_some(self) -> None:
        if self._must_mark:
            self._mark()
        number = meta_of(self._raw[0][1]).position
        is_next = bool(self._awaited) and number > self._resumed_at
        if is_next or self._is_due():
            self._looked_at_newest = self._journal.newest
            await self._look()
            self._forget_lost()
            if is_next:
                self._tell_what_did_not_come()
        if not self._ready:
            await super()._take_some()

    def _is_due(self) -> bool:
        """Return whether to ask what retention has left: once a batch, where it may be near."""
        now = self._now()
        moved = self._journal.newest - self._looked_at_newest > self._batch
        if not moved and now - self._horizon.asked_at < LOOK_EACH:
            return False
        low = min(self._held, default=self._position + 1) - 1
        at = LONG_AGO if self._held else self._recorded_at
        return not self._horizon.spares(low, at, now)

    def _settle(self, *, is_idle: bool = False) -> None:
        if is_idle:
            self._called_back = 0
        if self._called_back > 0:
            self._caught_up = False  # of what the server gives again it says nothing
            return
        super()._settle(is_idle=is_idle)
        self._tell_what_did_not_come()

    def _tell_what_did_not_come(self) -> None:
        """Report entries that were out when it was opened, and were removed before they came."""
        lost, self._awaited = self._awaited, 0
        self._tell_lost(max(0, min(lost, self._horizon.first - 1 - self._done_before)))

    def _forget_lost(self) -> None:
        """Forget what retention has removed, here as well."""
        while self._raw and meta_of(self._raw[0][1]).position < self._horizon.first:
            self._raw.popleft()
            self._next += 1
        if self._horizon.first - 1 > self._position:
            self._lose(self._horizon.first - 1 - self._position)
        else:
            self._tell_lost(self._let_go_of_lost(self._horizon.first))

    def _lose(self, count: int) -> None:
        if count > 0:
            self._position += count
            first = max(self._horizon.first, self._position + 1)
            self._tell_lost(count + self._let_go_of_lost(first))

    def _let_go_of_lost(self, first: int) -> int:
        lost = [position for position in self._held if position < first]
        for position in lost:
            del self._held[position]
        return len(lost)

    def _tell_lost(self, count: int) -> None:
        if count:
            self._missed += count
            self._ready.append(Gap(count))
            self._must_mark = True

    def _read(self, meta: Meta, subject: bytes, reply: bytes, payload: bytes) -> None:
        # What was called back, but is still in hand, or done with, is not given twice.
        if meta.position <= self._delivered:
            self._called_back -= 1
        if self._awaited and meta.position <= self._resumed_at:
            self._awaited -= 1
        if meta.position in self._acked:
            self._say(meta.position, reply.decode())
        elif meta.position not in self._held and meta.position not in self._acks:
            super()._read(meta, subject, reply, payload)

    def _give(self, entry: Entry, reply: bytes) -> None:
        if entry.position > self._given:
            self._given = entry.position
            if entry.delivery > 1:
                self._given_ahead[entry.position] = entry.delivery - 1
        ahead = self._given_ahead.get(entry.position, 0)
        self._held[entry.position] = _Held(entry.event.id, reply.decode())
        super()._give(entry._replace(delivery=entry.delivery - ahead), reply)

    def _pass_over(self, position: int, reply: bytes) -> None:
        self._say(position, reply.decode())

    # Acknowledging

    def ack(self, entry: Entry) -> None:
        """Say that ``entry`` was handled; stored within 0.1 s.

        Raises:
            JournalError: the consumer is closed, or has never given this entry.
        """
        held = self._taken_back(entry)
        if held is not None:
            self._given_ahead.pop(entry.position, None)
            self._say(entry.position, held.reply)

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Ask for ``entry`` again, in ``delay`` seconds or later.

        Raises:
            JournalError: as ``ack``.
        """
        if delay < 0:
            raise ValueError(f"a delay is 0 seconds or more, not {delay}")
        held = self._taken_back(entry)
        if held is not None and self._api is not None:
            again = b'-NAK {"delay":%d}' % max(1, int(delay * 1e9))
            with suppress(ConnectionError):  # with the connection, all that is out is called back
                self._api.connection.publish_nowait(held.reply, again)

    def _taken_back(self, entry: Entry) -> _Held | None:
        if self._closed:
            raise JournalError(f"consumer {self.name!r} is closed")
        if not isinstance(entry, Entry):
            raise TypeError(f"must be the Entry that the consumer returned, got {entry!r}")
        held = self._held.get(entry.position)
        if entry.position > self._given or (held and held.event_id != entry.event.id):
            raise JournalError(f"consumer {self.name!r} has never given {entry.position} like this")
        return self._held.pop(entry.position, None)

    def _say(self, position: int, reply: str) -> None:
        self._acks[position] = reply
        if len(self._acks) > self._max_unacked // 4:
            self._hurry.set()
        if self._acking is None or self._acking.done():
            self._acking = asyncio.get_running_loop().create_task(self._store_soon())

    async def _store_soon(self) -> None:
        while self._acks:
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_EACH):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self._store_acks()
            except _FAULTS:
                await asyncio.sleep(ACK_EACH)

    async def flush(self) -> None:
        """Return when all acks so far are stored.

        Raises:
            JournalError: they could not be stored now; it goes on trying.
        """
        try:
            await self._store_acks()
        except _FAULTS as exc:
            raise JournalError(f"consumer {self.name!r} cannot store its acks now: {exc}") from exc

    async def _store_acks(self) -> None:
        """Send the acks; the last one is answered, when the server has taken them all."""
        async with self._storing:
            if not self._acks:
                return
            if self._journal.api is None:
                raise ConnectionError("there is no connection")
            connection = self._journal.api.connection
            *earlier, last = acks = list(self._acks)
            for position in earlier:
                connection.publish_nowait(self._acks[position], b"+ACK")
            await connection.ask(self._acks[last], b"+ACK", self._journal.timeout)
            for position in acks:
                del self._acks[position]
                self._acked[position] = None
            for position in list(self._acked)[: -2 * self._max_unacked]:
                del self._acked[position]


def consumer_of(name: str) -> str:
    """Return the server's name of the consumer ``name``.

    Raises:
        ValueError: no consumer can have that name.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"the name of a consumer is up to {LONGEST_NAME} printable characters, not {name!r}"
        )
    return token(name)


def _written(bindings: tuple[Binding, ...]) -> str:
    """Return what tells sets of bindings apart, in whatever order they are given."""
    return b",".join(sorted({orjson.dumps(bindings_to_json(each)) for each in bindings})).decode()


def consumer_status(
    server_consumer: Mapping[str, Any], last: int, consumers: Mapping[str, StreamConsumer]
) -> ConsumerStatus | None:
    """Return the state of a consumer; None if it is a server_consumer of somebody else's."""
    metadata = server_consumer["config"].get("metadata") or {}
    name = metadata.get(_NAME)
    if name is None:
        return None
    consumer = consumers.get(name)
    floor = server_consumer["ack_floor"]
    at = floor.get("last_active")
    lag = server_consumer["num_pending"] + server_consumer["num_ack_pending"]
    return ConsumerStatus(
        name=name,
        position=floor["stream_seq"] if lag else last,
        lag=lag,
        unacked=server_consumer["num_ack_pending"] if consumer is None else consumer.unacked,
        missed=int(metadata.get(_MISSED, 0)) if consumer is None else consumer.missed,
        last_ack=None if at is None else datetime.fromisoformat(at),
        open=consumer is not None,
    )
