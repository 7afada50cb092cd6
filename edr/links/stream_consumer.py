"""``StreamConsumer``: a named cursor with acknowledgements, whose state the server stores.

It uses a durable JetStream consumer, which stores the unacknowledged entries. The server delivers
them again after ``ack_wait``. This is set to a day, since handling an entry may take
long. When a consumer is opened, or is back after a lost connection, all unacknowledged entries are
**redelivered** at once: ``ack_wait`` is set to a moment, and then to a day again. Entries that are
still held here are not delivered twice.

Acks are sent each 0.1 s, or when a quarter of ``max_unacked`` is waiting. The server answers the
last one, and it handles them in order.

Entries that the server has sent, and the consumer has not returned yet, are not delivered. The
server does not report entries that retention removes, sent or not. So when the
consumer is closed, the JetStream consumer's metadata gets the position, the ack floor, the number
of unacknowledged entries before the position, and the missed entries. After the position each
missing range is seen. If retention has removed entries before it, fewer are redelivered than were
unacknowledged.

After a crash that record is missing. There is only a checkpoint: the ack floor, written after each
loss and before retention reaches the last checkpoint. If retention has passed the checkpoint, the
gap counts all removed entries after it, acknowledged or not.

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
from edr.links.stream_acks import AckSender
from edr.links.stream_api import MessageMetadata, StreamApi, parse_reply
from edr.links.stream_cursor import BATCH, INFO_INTERVAL, Start, StreamCursor, StreamJournal
from edr.links.stream_retention import EPOCH
from edr.links.subject import token
from edr.records import Binding, bindings_to_json

ACK_WAIT = 86_400.0
"""Seconds without an ack after which the server redelivers an entry: handling one may take long."""

REDELIVER_ACK_WAIT = 0.001
"""``ack_wait`` in seconds while all unacknowledged entries are redelivered."""

REDELIVERY_DELAY = 0.25
"""Seconds until the server has redelivered them: it checks 0.1 s after such a change."""

MAX_NAME = 128

# Keys in the metadata of the JetStream consumer.
_NAME, _BINDINGS = "edr-consumer", "edr-bindings"
_GIVEN, _DONE, _MISSED = "edr-given", "edr-done", "edr-missed"
_AT, _OUT, _MARK = "edr-at", "edr-out", "edr-mark"
_UNTOLD = "edr-untold"
_AT_CLOSE = (_AT, _OUT, _GIVEN, _DONE)
_FAULTS = (LinkError, ConnectionError, TimeoutError, LookupError)


class _Unacked(NamedTuple):
    """An entry that was delivered and not acknowledged."""

    event_id: str
    reply: str
    """The subject for its ack or nack."""


class StreamConsumer(StreamCursor):
    """A cursor with a name and a memory; see ``edr.journal.Consumer``."""

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
        self._consumer_name = consumer_of(name)
        self._wants = _written(bindings)
        self._settings: dict[str, Any] = {}
        self._missed = 0
        self._delivered_up_to = 0
        """The newest position that is known to be delivered."""
        self._early_deliveries: dict[int, int] = {}
        """How often the server sent an entry before the consumer delivered it."""
        self._unacked: dict[int, _Unacked] = {}
        """Entries that are not acknowledged, by their position."""
        self._acks = AckSender(journal, max_unacked)
        self._looked_at_newest = 0
        self._expected = 0
        """Entries that were unacknowledged when it was opened, and were not redelivered yet."""
        self._redelivering = 0
        """Entries that the server has to redeliver, and has not sent yet."""
        self._redelivery_end = 0
        """The last position of these."""
        self._resumed_at = 0
        """The last position of the expected entries."""
        self._floor_at_open = 0
        """The ack floor when it was opened."""
        self._must_checkpoint = False
        """Whether to store the losses at the server, once the gap was read."""
        self._checkpointed = 0
        """The ack floor in the last checkpoint."""
        self._checkpointing: asyncio.Task[None] | None = None

    @property
    def missed(self) -> int:
        """Entries that were lost since it was created."""
        return self._missed

    @property
    def unacked(self) -> int:
        """Entries that were delivered and are not acknowledged."""
        return len(self._unacked)

    async def open(self) -> None:
        """Create or find the JetStream consumer, and request its unacknowledged entries again.

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
        info = await api.consumer(self._consumer_name)
        if info is not None:
            info = await self._resume(api, info)
        elif self._is_placed:
            raise JournalError(f"consumer {self.name!r} was forgotten while it was open")
        else:
            last = self._retention.last
            after = last if self._begins == "now" else self._begins
            if after != "oldest" and after > last:
                raise WrongJournalError(after, self._journal.id)
            info = await api.create_consumer(self._consumer_name, self._config(after))
        self._settings = info["config"]
        self._compare_filters(info)
        self._next = info["delivered"]["consumer_seq"] + 1
        if self._is_placed:
            self._forget_lost()
        else:
            self._is_placed = True
            self._place(info)
        self._redelivering = info["num_ack_pending"]
        self._redelivery_end = info["delivered"]["stream_seq"]
        self._note_pending(info)

    def _place(self, info: Mapping[str, Any]) -> None:
        """Continue at the stored position."""
        metadata = info["config"]["metadata"]
        delivered = info["delivered"]["stream_seq"]
        self._missed = int(metadata.get(_MISSED, 0))
        self._checkpointed = int(metadata.get(_MARK) or 0)
        untold = int(metadata.get(_UNTOLD) or 0)
        if untold:  # counted when it was lost
            self._ready.append(Gap(untold))
            self._must_checkpoint = True
        if metadata.get(_AT):
            self._position = int(metadata[_AT])
            self._delivered_up_to = int(metadata[_GIVEN])
            self._floor_at_open = int(metadata[_DONE])
            self._expected = int(metadata[_OUT])
        else:
            self._position = self._delivered_up_to = delivered
            floor = info["ack_floor"]["stream_seq"]
            self._floor_at_open = min(self._checkpointed, floor) if metadata.get(_MARK) else floor
            self._expected = info["num_ack_pending"]
            gone = min(self._retention.first - 1, delivered)
            if gone > self._floor_at_open:  # which of them were acknowledged is not known any more
                self._report_lost(gone - self._floor_at_open)
                self._floor_at_open = gone
        self._resumed_at = self._position
        if self._retention.first - 1 > self._position:
            lost, self._expected = self._expected, 0
            self._report_lost(lost + self._retention.first - 1 - self._position)
            self._position = self._retention.first - 1

    def _config(self, after: Literal["oldest"] | int) -> dict[str, Any]:
        begins: dict[str, Any] = {"deliver_policy": "all"}
        if after != "oldest":
            begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        return {
            **begins,
            "durable_name": self._consumer_name,
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT * 1e9),
            "max_ack_pending": self._max_unacked,
            "filter_subjects": self._filters,
            "metadata": {
                _NAME: self.name,
                _BINDINGS: self._wants,
                _MISSED: str(self._missed),
                _MARK: str(max(0, self._retention.first - 1) if after == "oldest" else after),
            },
        }

    async def _resume(self, api: StreamApi, info: dict[str, Any]) -> dict[str, Any]:
        config = info["config"]
        metadata = config.get("metadata") or {}
        if metadata.get(_NAME) != self.name:
            raise JournalError(
                f"JetStream consumer {self._consumer_name!r} is none of a journal's consumers"
            )
        if metadata.get(_BINDINGS) != self._wants:
            if not self._rebind:
                raise JournalError(
                    f"consumer {self.name!r} has other bindings, {metadata.get(_BINDINGS)}; "
                    "rebind=True changes them"
                )
            self._missed = int(metadata.get(_MISSED, 0))
            # A new one: the server has moved the old one past what it gave ahead.
            await api.delete_consumer(self._consumer_name)
            floor = info["ack_floor"]["stream_seq"]
            return await api.create_consumer(self._consumer_name, self._config(floor))
        config["max_ack_pending"] = self._max_unacked
        if info["num_ack_pending"]:
            moment = {**config, "ack_wait": int(REDELIVER_ACK_WAIT * 1e9)}
            await api.create_consumer(self._consumer_name, moment, "update")
            await asyncio.sleep(REDELIVERY_DELAY)
        config["ack_wait"] = int(ACK_WAIT * 1e9)
        # Until it is closed in good order, the server alone knows what is out.
        mark = {_MARK: metadata[_DONE]} if metadata.get(_DONE) else {}
        config["metadata"] = {**metadata, **mark, **dict.fromkeys(_AT_CLOSE, "")}
        made = await api.create_consumer(self._consumer_name, config, "update")
        made["num_ack_pending"] = info["num_ack_pending"]
        made["config"]["metadata"].update(
            {key: metadata[key] for key in _AT_CLOSE if key in metadata}
        )
        return made

    async def _release(self, api: StreamApi) -> None:
        await self._acks.store()
        known = {
            _AT: self._position,
            _GIVEN: self._delivered_up_to,
            _OUT: len(self._unacked) + self._expected,
            _DONE: self._ack_floor,
            _MISSED: self._missed,
            _UNTOLD: self._unreported,
        }
        await self._write(api, known)
        await api.connection.unlisten(self._number)
        await api.connection.fence(self._journal.timeout)

    async def _write(self, api: StreamApi, known: Mapping[str, int]) -> None:
        """Write ``known`` into the JetStream consumer's metadata."""
        written = {key: str(value) for key, value in known.items()}
        settings = {**self._settings, "metadata": {**self._settings["metadata"], **written}}
        await api.create_consumer(self._consumer_name, settings, "update")
        self._settings = settings

    @property
    def _unreported(self) -> int:
        """Entries of the gaps that were not read yet."""
        return sum(item.missed for item in self._ready if isinstance(item, Gap))

    @property
    def _ack_floor(self) -> int:
        """The position up to which every entry was acknowledged or did not match."""
        if self._expected:
            return min(self._floor_at_open, min(self._unacked, default=self._position + 1) - 1)
        return min(self._unacked, default=self._position + 1) - 1

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint, before retention reaches the last one."""
        middle = (self._journal.first + self._journal.newest) // 2
        if self._checkpointed < middle and self._retention.can_remove:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Start to write the ack floor and the losses into the metadata."""
        is_writing = self._checkpointing is not None and not self._checkpointing.done()
        is_new = self._must_checkpoint or self._ack_floor > self._checkpointed
        if self._api is not None and is_new and not is_writing and not self._unreported:
            self._must_checkpoint = False
            known = {_MARK: self._ack_floor, _MISSED: self._missed, _UNTOLD: 0}
            writing = self._write_checkpoint(self._api, known)
            self._checkpointing = asyncio.get_running_loop().create_task(writing)

    async def _write_checkpoint(self, api: StreamApi, known: Mapping[str, int]) -> None:
        with suppress(*_FAULTS):
            await self._write(api, known)
            self._checkpointed = known[_MARK]

    async def aclose(self) -> None:
        """Store its acks, within the journal's ``timeout``, and end it. Idempotent.

        Raises:
            JournalError: acks could not be stored, so these entries come again.
        """
        if self._closed:
            return
        checkpointing = self._checkpointing
        if checkpointing is not None:
            checkpointing.cancel()
        words = (
            "consumer %r was closed with %d acks that could not be stored; these entries come again"
        )
        try:
            await self._acks.stop()
            if checkpointing is not None:
                await asyncio.wait({checkpointing})
            await super().aclose()
        finally:
            if self._acks.pending:
                logger.error(words, self.name, len(self._acks.pending))
        if self._acks.pending:
            raise JournalError(words % (self.name, len(self._acks.pending)))

    async def _leave(self) -> None:
        if self._acks.pending:
            with suppress(*_FAULTS, JournalError):
                async with asyncio.timeout(self._journal.timeout):
                    await self._journal.connected()
                    await self._acks.store()
        await super()._leave()

    # Its messages

    async def _take_some(self) -> None:
        if self._must_checkpoint:
            self._checkpoint()
        number = parse_reply(self._raw[0][1]).position
        is_next = bool(self._expected) and number > self._resumed_at
        if is_next or self._is_due():
            self._looked_at_newest = self._journal.newest
            await self._look()
            self._forget_lost()
            if is_next:
                self._report_missing_redeliveries()
        if not self._ready:
            await super()._take_some()

    def _is_due(self) -> bool:
        """Return whether to request the stream state: once a batch, if retention may be near."""
        now = self._now()
        moved = self._journal.newest - self._looked_at_newest > self._batch
        if not moved and now - self._retention.asked_at < INFO_INTERVAL:
            return False
        low = min(self._unacked, default=self._position + 1) - 1
        at = EPOCH if self._unacked else self._recorded_at
        return not self._retention.keeps_all_after(low, at, now)

    def _settle(self, *, is_idle: bool = False) -> None:
        if is_idle:
            self._redelivering = 0
        if self._redelivering > 0:
            self._caught_up = False  # of what the server gives again it says nothing
            return
        super()._settle(is_idle=is_idle)
        self._report_missing_redeliveries()

    def _report_missing_redeliveries(self) -> None:
        """Report unacknowledged entries that were removed before they were redelivered."""
        lost, self._expected = self._expected, 0
        self._report_lost(max(0, min(lost, self._retention.first - 1 - self._floor_at_open)))

    def _forget_lost(self) -> None:
        """Drop messages that retention has removed, and report them."""
        while self._raw and parse_reply(self._raw[0][1]).position < self._retention.first:
            self._raw.popleft()
            self._next += 1
        if self._retention.first - 1 > self._position:
            self._skip_lost(self._retention.first - 1 - self._position)
        else:
            self._report_lost(self._drop_lost(self._retention.first))

    def _skip_lost(self, count: int) -> None:
        if count > 0:
            self._position += count
            first = max(self._retention.first, self._position + 1)
            self._report_lost(count + self._drop_lost(first))

    def _drop_lost(self, first: int) -> int:
        lost = [position for position in self._unacked if position < first]
        for position in lost:
            del self._unacked[position]
        return len(lost)

    def _report_lost(self, count: int) -> None:
        if count:
            self._missed += count
            self._ready.append(Gap(count))
            self._must_checkpoint = True

    def _read(self, meta: MessageMetadata, subject: bytes, reply: bytes, payload: bytes) -> None:
        # A redelivered entry that is still held here, or acknowledged, is not delivered twice.
        if meta.position <= self._redelivery_end:
            self._redelivering -= 1
        if self._expected and meta.position <= self._resumed_at:
            self._expected -= 1
        if meta.position in self._acks.recent:
            self._acks.add(meta.position, reply.decode())
        elif meta.position not in self._unacked and meta.position not in self._acks.pending:
            super()._read(meta, subject, reply, payload)

    def _deliver(self, entry: Entry, reply: bytes) -> None:
        if entry.position > self._delivered_up_to:
            self._delivered_up_to = entry.position
            if entry.delivery > 1:
                self._early_deliveries[entry.position] = entry.delivery - 1
        ahead = self._early_deliveries.get(entry.position, 0)
        self._unacked[entry.position] = _Unacked(entry.event.id, reply.decode())
        super()._deliver(entry._replace(delivery=entry.delivery - ahead), reply)

    def _skip(self, position: int, reply: bytes) -> None:
        self._acks.add(position, reply.decode())

    # Acknowledging

    def ack(self, entry: Entry) -> None:
        """Acknowledge ``entry``. The ack is stored within 0.1 s.

        Raises:
            JournalError: the consumer is closed, or has never given this entry.
        """
        held = self._remove_unacked(entry)
        if held is not None:
            self._early_deliveries.pop(entry.position, None)
            self._acks.add(entry.position, held.reply)

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Request ``entry`` again, in ``delay`` seconds or later.

        Raises:
            JournalError: as ``ack``.
        """
        if delay < 0:
            raise ValueError(f"a delay is 0 seconds or more, not {delay}")
        held = self._remove_unacked(entry)
        if held is not None and self._api is not None:
            again = b'-NAK {"delay":%d}' % max(1, int(delay * 1e9))
            with suppress(ConnectionError):  # with the connection, all that is out is called back
                self._api.connection.publish_nowait(held.reply, again)

    def _remove_unacked(self, entry: Entry) -> _Unacked | None:
        if self._closed:
            raise JournalError(f"consumer {self.name!r} is closed")
        if not isinstance(entry, Entry):
            raise TypeError(f"must be the Entry that the consumer returned, got {entry!r}")
        held = self._unacked.get(entry.position)
        if entry.position > self._delivered_up_to or (held and held.event_id != entry.event.id):
            raise JournalError(f"consumer {self.name!r} has never given {entry.position} like this")
        return self._unacked.pop(entry.position, None)

    async def flush(self) -> None:
        """Return when all acks so far are stored.

        Raises:
            JournalError: they could not be stored now; it goes on trying.
        """
        try:
            await self._acks.store()
        except _FAULTS as exc:
            raise JournalError(f"consumer {self.name!r} cannot store its acks now: {exc}") from exc


def consumer_of(name: str) -> str:
    """Return the server's name of the consumer ``name``.

    Raises:
        ValueError: no consumer can have that name.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(
            f"the name of a consumer is up to {MAX_NAME} printable characters, not {name!r}"
        )
    return token(name)


def _written(bindings: tuple[Binding, ...]) -> str:
    """Return text that is equal for equal sets of bindings, in any order."""
    return b",".join(sorted({orjson.dumps(bindings_to_json(each)) for each in bindings})).decode()


def consumer_status(
    info: Mapping[str, Any], last: int, consumers: Mapping[str, StreamConsumer]
) -> ConsumerStatus | None:
    """Return the state of a consumer; None if no journal made the JetStream consumer."""
    metadata = info["config"].get("metadata") or {}
    name = metadata.get(_NAME)
    if name is None:
        return None
    consumer = consumers.get(name)
    floor = info["ack_floor"]
    at = floor.get("last_active")
    lag = info["num_pending"] + info["num_ack_pending"]
    return ConsumerStatus(
        name=name,
        position=floor["stream_seq"] if lag else last,
        lag=lag,
        unacked=info["num_ack_pending"] if consumer is None else consumer.unacked,
        missed=int(metadata.get(_MISSED, 0)) if consumer is None else consumer.missed,
        last_ack=None if at is None else datetime.fromisoformat(at),
        open=consumer is not None,
    )
