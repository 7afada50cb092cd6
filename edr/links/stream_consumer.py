"""``StreamConsumer``: a named cursor with acknowledgements, whose state the server stores.

It uses a durable JetStream consumer, which stores the unacknowledged entries. The server delivers
them again after ``ack_wait``. This is set to a day, since handling an entry may take
long. When a consumer is opened, or is back after a lost connection, all unacknowledged entries are
**redelivered** at once: ``ack_wait`` is set to a moment, and then to a day again. A busy server may
miss that moment. It redelivers entries before it sends others, so a missing one is noticed, and
``ack_wait`` is changed again. Entries that are still held here are not delivered twice.

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

**Rebinding.** ``rebind`` replaces the JetStream consumer by a new one that starts after the ack
floor. The entries up to the position that come again are recognized: held ones stay held, and all
others are acknowledged at once. After a crash it is not known which of them were acknowledged
before, if the server has not redelivered the others yet. Then all that match are delivered.

Rejected: telling the server each half minute that every entry in hand is still being worked on (a
thousand messages for a consumer that waits for a slow database). For ``rebind``: a list of the held
entries in the metadata, which would need a second way to redeliver entries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any, Literal

from edr.bus import Gap
from edr.journal import Entry, EntryBatches, JournalError, WrongJournalError
from edr.journal.options import checked_bindings
from edr.journal.processing import DeadLetters, Handler, OnGap, Processing
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.stream_acks import AckSender
from edr.links.stream_api import MessageMetadata, StreamApi, parse_reply
from edr.links.stream_checkpoints import Checkpoints
from edr.links.stream_cursor import BATCH, INFO_INTERVAL, StreamCursor, StreamJournal
from edr.links.stream_durable import MAX_RESUMES, DurableConsumer
from edr.links.stream_metadata import (
    ClosedAt,
    ConsumerRecord,
    checkpoint_metadata,
    closed_metadata,
    new_metadata,
    record_of,
    written,
)
from edr.links.stream_pulls import Message, PullSubscription
from edr.links.stream_retention import EPOCH
from edr.links.stream_start import Start
from edr.links.stream_unacked import Unacked
from edr.records import Binding

_FAULTS = (LinkError, ConnectionError, TimeoutError, LookupError)


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
        self._may_rebind = rebind
        self._max_unacked = max_unacked
        self._batch = min(BATCH, max_unacked)
        self._durable = DurableConsumer(name, max_unacked)
        self._consumer_name = self._durable.server_name
        self._missed = 0
        self._is_shut_down = False
        self._processing = 0
        self._delivered_up_to = 0
        """The newest position that is known to be delivered."""
        self._unacked = Unacked()
        self._sent: dict[int, bytes] = {}
        """The subject for the ack of each entry that is ready and was never delivered."""
        self._acks = AckSender(journal, max_unacked)
        self._checkpoints = Checkpoints(self._write_checkpoint)
        self._looked_at_newest = 0
        self._expected = 0
        """Entries that were unacknowledged when it was opened, and were not redelivered yet."""
        self._redelivering = 0
        """Entries that the server has to redeliver, and has not sent yet."""
        self._redelivery_end = 0
        """The last position of these."""
        self._resumes = 0
        """Requests for them so far."""
        self._resumed_at = 0
        """The last position of the expected entries."""
        self._floor_at_open = 0
        """The ack floor when it was opened."""
        self._rebound_at = 0
        """The position at the last rebind. Entries up to here are held, or done."""
        self._expected_positions: set[int] | None = None
        """The positions of the expected entries, if known."""
        self._is_replaced = False
        """Whether the JetStream consumer sends entries again that are not expected."""
        self._read_up_to = 0
        """The position of the last message of this JetStream consumer."""

    @property
    def missed(self) -> int:
        """Entries that were lost since it was created."""
        return self._missed

    @property
    def unacked(self) -> int:
        """Entries that were delivered and are not acknowledged."""
        return len(self._unacked) + self._expected

    @property
    def _has_ended(self) -> bool:
        return self._closed or self._is_shut_down

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

    async def _make(self, api: StreamApi, pulls: PullSubscription) -> None:
        await self._ask_stream(api)
        info = await api.consumer(self._consumer_name)
        if info is not None:
            record = record_of(info)
            info = await self._resume(api, info, record)
        elif (bookmark := await self._durable.find_bookmark(api)) is not None:
            record = record_of(bookmark)
            info = await self._end_replacing(api, bookmark)
        elif self._is_placed:
            raise JournalError(f"consumer {self.name!r} was forgotten while it was open")
        else:
            info = await self._create(api)
            record = record_of(info)
        self._durable.settings = info["config"]
        self._compare_filters(info)
        pulls.begin(self._consumer_name, info["delivered"]["consumer_seq"] + 1)
        self._read_up_to = 0
        if self._is_placed:
            self._forget_lost()
        else:
            self._is_placed = True
            self._place(info, record)
        self._redelivering = info["num_ack_pending"]
        self._redelivery_end = info["delivered"]["stream_seq"]
        self._note_pending(info)

    def _place(self, info: Mapping[str, Any], record: ConsumerRecord) -> None:
        """Continue at the position in ``record``, or where the server is."""
        self._missed = record.missed
        self._checkpoints.at = record.checkpoint or 0
        if record.unreported:  # counted when it was lost
            self._ready.append(Gap(record.unreported))
            self._checkpoints.is_due = True
        closed_at = record.closed_at
        if closed_at is not None:
            self._position = closed_at.position
            self._delivered_up_to = closed_at.delivered_up_to
            self._floor_at_open = closed_at.ack_floor
            self._expected = closed_at.unacked
            if closed_at.positions is not None:
                self._expected_positions = set(closed_at.positions)
            if record.bindings != written(self._bindings):
                self._rebound_at = closed_at.position
        else:
            delivered = info["delivered"]["stream_seq"]
            self._position = self._delivered_up_to = delivered
            floor = info["ack_floor"]["stream_seq"]
            if record.checkpoint is not None:
                floor = min(record.checkpoint, floor)
            self._floor_at_open = floor
            self._expected = info["num_ack_pending"]
            gone = min(self._retention.first - 1, delivered)
            if gone > floor:  # which of them were acknowledged is not known any more
                self._report_lost(gone - floor)
                self._floor_at_open = gone
        self._resumed_at = self._position
        if self._retention.first - 1 > self._position:
            lost, self._expected = self._expected, 0
            self._report_lost(lost + self._retention.first - 1 - self._position)
            self._position = self._retention.first - 1

    async def _create(self, api: StreamApi) -> dict[str, Any]:
        first, last = self._retention.first, self._retention.last
        if self._begins == "oldest":
            after = None
        else:
            after = last if self._begins == "now" else self._begins
        if after is not None and after > last:
            raise WrongJournalError(after, self._journal.id)
        floor = max(0, first - 1) if after is None else after
        metadata = new_metadata(self.name, written(self._bindings), self._missed, floor)
        return await self._durable.create(api, self._filters, metadata, after)

    async def _resume(
        self, api: StreamApi, info: dict[str, Any], record: ConsumerRecord
    ) -> dict[str, Any]:
        if record.name != self.name:
            raise JournalError(
                f"JetStream consumer {self._consumer_name!r} is not a consumer of a journal"
            )
        if record.bindings != written(self._bindings):
            self._check_bindings(record.bindings)
            if not self._is_placed:
                self._missed = record.missed
            return await self._replace(api, self._floor_of_new(info, record.closed_at))
        attempt = min(self._resumes, MAX_RESUMES - 1)
        # An interrupted request had no time for an effect. If it counted, the delays would exceed
        # the time that a caller waits, and no further request would end.
        self._resumes = 0
        resumed = await self._durable.resume(api, info, attempt)
        self._resumes = attempt + 1
        return resumed

    def _floor_of_new(self, info: Mapping[str, Any], closed_at: ClosedAt | None) -> int:
        """Return the position after which a JetStream consumer with other bindings starts."""
        floor: int = info["ack_floor"]["stream_seq"]
        # If no ack is missing, the server's floor includes entries after the position, which it
        # passed over. The new bindings may match them.
        if self._is_placed:
            return min(self._position, max(floor, self._ack_floor))
        if closed_at is not None:
            return min(closed_at.position, max(floor, closed_at.ack_floor))
        return floor

    def _check_bindings(self, found: str) -> None:
        if not self._may_rebind:
            raise JournalError(
                f"consumer {self.name!r} has other bindings, {found}; rebind=True changes them"
            )

    # Other bindings

    async def rebind(self, *bindings: Binding) -> None:
        """Replace the bindings, and return when that is stored; see ``edr.journal.Consumer``.

        It waits for at most the ``timeout`` of the journal.

        Raises:
            InvalidBindingError: an argument is not a ``Binding``. Nothing has changed.
            JournalError: the consumer is closed; or the new bindings could not be stored now. They
                apply, and it is tried again.
        """
        bindings = checked_bindings(bindings)
        if self._closed:
            raise JournalError(f"consumer {self.name!r} is closed")
        self._change_bindings(bindings)
        try:
            async with asyncio.timeout(self._journal.timeout), self._turn:
                api = await self._journal.connected()
                if self._api is not api:
                    await self._consume(api)
                await self._read_up_to_position()
        except _FAULTS as exc:
            reason = str(exc) or "no answer"
            raise JournalError(
                f"consumer {self.name!r} cannot store its new bindings now: {reason}"
            ) from exc
        finally:
            self.wake()

    def _change_bindings(self, bindings: tuple[Binding, ...]) -> None:
        """Go back to the position: later entries that were read come again, if they match."""
        self._position = self._rebound_at = self.position
        self._recorded_at = EPOCH
        gaps = [item for item in self._ready if isinstance(item, Gap)]
        self._ready.clear()
        self._ready.extend(gaps)
        self._sent.clear()
        self._set_bindings(bindings)
        self._unacked.keep(lambda entry: self._matches(entry.event))
        self._may_rebind = True
        self._caught_up = False
        self._break()

    async def _read_up_to_position(self) -> None:
        """Read the entries up to the position that come again, to acknowledge those not held."""
        while self._read_up_to < self._rebound_at and not self._caught_up and not self._has_ended:
            pulls = self._pulls
            if pulls is None or not pulls.messages:
                await self._fill()
                continue
            number = pulls.next_number
            await self._read_some(inf)
            if pulls.next_number == number and not pulls.is_broken:
                break  # items must be returned before
        # While they come, held entries must not stop the others.
        pending = self._durable.settings["max_ack_pending"]
        if self._api is not None and pending != self._max_unacked:
            await self._durable.write(self._api, {})

    async def _replace(self, api: StreamApi, floor: int) -> dict[str, Any]:
        """Replace the JetStream consumer by one with other bindings that starts after ``floor``."""
        bookmark = await self._durable.remove(
            api, self._filters, written(self._bindings), self._missed, floor
        )
        return await self._end_replacing(api, bookmark)

    async def _end_replacing(self, api: StreamApi, bookmark: Mapping[str, Any]) -> dict[str, Any]:
        """Create the JetStream consumer that was deleted, where ``bookmark`` is."""
        record = record_of(bookmark)
        if record.bindings != written(self._bindings):
            self._check_bindings(record.bindings)
        if not self._is_placed:
            self._missed = record.missed
        self._is_replaced = True
        floor = bookmark["config"]["opt_start_seq"] - 1
        metadata = new_metadata(self.name, written(self._bindings), self._missed, floor)
        made = await self._durable.create(
            api, self._filters, metadata, floor, may_hold=self._is_placed
        )
        self._acks.clear()  # the new one sends these entries again
        self._checkpoints.at = floor
        await self._durable.remove_bookmark(api)
        return made

    # The end

    def batches(self, max_size: int, *, max_wait: float = 0.0) -> EntryBatches:
        """Return an async iterator over batches; see ``edr.journal.Consumer``."""
        return EntryBatches(self, max_size, max_wait)

    async def process(
        self,
        handler: Handler,
        *,
        concurrency: int = 1,
        attempts: int = 5,
        backoff: float = 1.0,
        dead_letters: DeadLetters | None = None,
        on_gap: OnGap | None = None,
    ) -> None:
        """Pass entries to ``handler`` until the consumer ends; see ``edr.journal.Consumer``."""
        processing = Processing(
            self,
            handler,
            concurrency=concurrency,
            attempts=attempts,
            backoff=backoff,
            dead_letters=dead_letters,
            on_gap=on_gap,
        )
        self._processing += 1
        try:
            await processing.run()
        finally:
            self._processing -= 1

    @property
    def is_processing(self) -> bool:
        """Whether ``process`` runs."""
        return self._processing > 0

    @property
    def unsettled(self) -> int:
        """Number of entries that it returned and that were neither acked nor nacked."""
        return self._unacked.unsettled

    async def shutdown(self) -> None:
        """Return no further entries; see ``edr.journal.Consumer``. Idempotent."""
        self._is_shut_down = True
        self.wake()

    async def aclose(self) -> None:
        """Store its acks, within the journal's ``timeout``, and end it. Idempotent.

        Raises:
            JournalError: acks could not be stored, so these entries come again.
        """
        if self._closed:
            return
        words = (
            "consumer %r was closed with %d acks that could not be stored; these entries come again"
        )
        try:
            await self._acks.stop()
            await self._checkpoints.stop()
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
        api = self._journal.api
        if api is not None and self._is_placed:
            with suppress(LinkError, ConnectionError, TimeoutError):
                await self._release(api)

    async def _release(self, api: StreamApi) -> None:
        await self._acks.store()
        # If it was being replaced, the new one, or its bookmark, may begin after the ack floor.
        if self._api is not api and not await self._durable.has_its_bindings(api):
            return
        closed_at = ClosedAt(
            position=self.position,
            delivered_up_to=self._delivered_up_to,
            ack_floor=self._ack_floor,
            unacked=self.unacked,
            positions=self._unacked_positions,
        )
        await self._durable.write(api, closed_metadata(closed_at, self._missed, self._unreported))
        if self._pulls is not None and self._pulls.api is api:
            await self._pulls.unlisten()
        await api.connection.fence(self._journal.timeout)

    @property
    def _unacked_positions(self) -> frozenset[int] | None:
        """The positions of the unacknowledged entries; None if they are not known."""
        if not self._expected:
            return frozenset(self._unacked)
        if self._expected_positions is None:
            return None
        return frozenset(self._expected_positions.union(self._unacked))

    # Redeliveries

    async def _refresh(self, api: StreamApi) -> None:
        if not self._resume_again():
            await super()._refresh(api)

    def _resume_again(self) -> bool:
        """Request missing redeliveries again. Return False if none is missing, or too often."""
        if self._redelivering <= 0:
            self._resumes = 0
        elif self._misses_redeliveries:
            self._break()
            return True
        return False

    @property
    def _misses_redeliveries(self) -> bool:
        """Whether redeliveries are missing, and can be requested again."""
        return self._redelivering > 0 and self._resumes < MAX_RESUMES

    # Losses

    @property
    def _unreported(self) -> int:
        """Entries of the gaps that were not read yet."""
        return sum(item.missed for item in self._ready if isinstance(item, Gap))

    @property
    def _ack_floor(self) -> int:
        """The position up to which every entry was acknowledged or did not match."""
        floor = self._unacked.first(self.position + 1) - 1
        return min(self._floor_at_open, floor) if self._expected else floor

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint, before retention reaches the last one."""
        middle = (self._journal.first + self._journal.newest) // 2
        if self._checkpoints.at < middle and self._retention.can_remove:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._api is not None and not self._unreported:
            self._checkpoints.begin(self._ack_floor, self._missed)

    async def _write_checkpoint(self, floor: int, missed: int) -> None:
        if self._api is None:
            raise ConnectionError("there is no connection")
        await self._durable.write(self._api, checkpoint_metadata(floor, missed))

    def _may_be_lost(self) -> bool:
        # The stream is asked once a batch, if retention may be near.
        now = self._now()
        moved = self._journal.newest - self._looked_at_newest > self._batch
        if not moved and now - self._retention.asked_at < INFO_INTERVAL:
            return False
        first = self._ready[0]
        if self._unacked or isinstance(first, Gap):
            low, at = self._ack_floor, EPOCH
        else:
            low, at = first.position - 1, first.recorded_at
        return not self._retention.keeps_all_after(low, at, now)

    async def _drop_lost(self) -> None:
        async with self._turn:
            self._looked_at_newest = self._journal.newest
            await self._look()
            self._forget_lost()

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
        removed = self._retention.first - 1 - self._floor_at_open
        lost = max(0, min(self._expected, removed))
        self._expected = self._expected - lost if self._misses_redeliveries else 0
        self._floor_at_open += max(0, removed)
        self._report_lost(lost)

    def _forget_lost(self) -> None:
        """Drop entries that retention has removed, and report them."""
        pulls, first = self._pulls, self._retention.first
        while pulls and pulls.messages and parse_reply(pulls.messages[0].reply).position < first:
            pulls.drop_first()
        self._position, read_up_to = self.position, self._position
        items = list(self._ready)
        self._ready.clear()
        for item in items:
            if isinstance(item, Gap) or item.position >= first:
                self._ready.append(item)
            else:
                self._sent.pop(item.position, None)
        if first - 1 > self._position:
            self._skip_lost(first - 1 - self._position)
        else:
            self._report_lost(self._unacked.drop_before(first))
        self._position = max(self._position, read_up_to)

    def _skip_lost(self, count: int) -> None:
        if count > 0:
            self._position += count
            first = max(self._retention.first, self._position + 1)
            self._report_lost(count + self._unacked.drop_before(first))

    def _report_lost(self, count: int) -> None:
        if count:
            self._missed += count
            self._ready.appendleft(Gap(count))
            self._checkpoints.is_due = True

    # Its messages

    async def _read_some(self, limit: float) -> None:
        if self._checkpoints.is_due:
            self._checkpoint()
        assert self._pulls is not None
        if self._expected and (
            parse_reply(self._pulls.messages[0].reply).position > self._resumed_at
        ):  # all redeliveries have come, unless the server missed some
            await self._look()
            self._forget_lost()
            self._report_missing_redeliveries()
            if self._ready:
                return
        await super()._read_some(limit)

    def _read(self, meta: MessageMetadata, message: Message) -> bool:
        position = meta.position
        if self._resumes and position > self._redelivery_end and self._resume_again():
            return False
        # A redelivered entry that is still held here, or acknowledged, is not delivered twice.
        if position > self._position or not self._recognize(position, message.reply):
            is_expected = self._expected and position <= self._resumed_at
            if not super()._read(meta, message):
                return False
            if is_expected and self._expected:
                self._note_expected(meta)
        if position <= self._redelivery_end:
            self._redelivering -= 1
        self._read_up_to = position
        return True

    def _note_expected(self, meta: MessageMetadata) -> None:
        """Called for an entry that may have been unacknowledged when the consumer was opened."""
        position, known = meta.position, self._expected_positions
        if known is not None:
            known.discard(position)
        elif self._is_replaced:
            # Any entry comes again, so the expected ones are not over when that number has come.
            if meta.delivery == 1 and self._redelivering <= 0:
                self._floor_at_open = max(self._floor_at_open, position)
            self._expected = max(2, self._expected)
        self._expected -= 1

    def _recognize(self, position: int, reply: bytes) -> bool:
        """Return whether the entry was read before, and handle its message then."""
        if position in self._unacked:
            again = self._unacked.on_message(position, reply, self._now())
            if isinstance(again, Entry):
                self._ready.append(again)
            elif again is not None:
                self._nak(reply.decode(), again)
        elif position in self._sent:
            self._sent[position] = reply
        elif position in self._acks.recent or self._is_done(position):
            self._acks.add(position, reply.decode())
        else:
            return position in self._acks.pending
        return True

    def _is_done(self, position: int) -> bool:
        """Return whether the entry was done at the last rebind: it is not held."""
        if position > self._rebound_at:
            return False
        if not self._expected or not self._floor_at_open < position <= self._resumed_at:
            return True
        known = self._expected_positions
        return known is not None and position not in known

    def _is_new(self, entry: Entry) -> bool:
        return entry.position > self._delivered_up_to

    def _deliver(self, entry: Entry, reply: bytes) -> None:
        if self._is_new(entry):
            if entry.delivery > 1:  # sent before, and not returned
                entry = entry._replace(delivery=1)
            self._sent[entry.position] = reply
        else:
            if entry.delivery == 1:  # returned before a rebind
                entry = entry._replace(delivery=2)
            self._unacked.add(entry, reply, is_ready=True)
        self._ready.append(entry)

    def _hand_out(self, limit: int) -> list[Entry | Gap]:
        items: list[Entry | Gap] = []
        ready = self._ready
        while ready and len(items) < limit:
            item = ready.popleft()
            if isinstance(item, Entry):
                position = item.position
                if position in self._sent:
                    self._unacked.add(item, self._sent.pop(position))
                    self._delivered_up_to = max(self._delivered_up_to, position)
                elif not self._unacked.is_returned(position):
                    continue  # acknowledged or lost since it was read
            items.append(item)
        return items

    def _skip(self, position: int, reply: bytes) -> None:
        self._acks.add(position, reply.decode())

    # Acknowledging

    def ack(self, *entries: Entry) -> None:
        """Acknowledge ``entries``. The acks are stored within 0.1 s.

        Raises:
            JournalError: the consumer is closed, or has never given one of these entries. None of
                them is acknowledged then.
        """
        for entry in entries:
            self._check(entry)
        for entry in entries:
            reply = self._unacked.remove(entry.position)
            if reply is not None:
                self._acks.add(entry.position, reply)

    def nack(self, entry: Entry, delay: float = 0.0) -> None:
        """Request ``entry`` again, in ``delay`` seconds or later.

        Raises:
            JournalError: as ``ack``.
        """
        if not delay >= 0:
            raise ValueError(f"a delay is 0 seconds or more, not {delay}")
        self._check(entry)
        reply = self._unacked.nack(entry.position, self._now() + delay)
        if reply is not None:
            self._nak(reply, delay)

    def _nak(self, reply: str, delay: float) -> None:
        # After a shutdown the server would count a delivery that is not returned. When the consumer
        # is opened again, it gets all unacknowledged entries anyway.
        if self._api is not None and not self._is_shut_down:
            again = b'-NAK {"delay":%d}' % max(1, int(delay * 1e9))
            with suppress(ConnectionError):  # with the connection, all that is out is called back
                self._api.connection.publish_nowait(reply, again)

    def _check(self, entry: Entry) -> None:
        if self._closed:
            raise JournalError(f"consumer {self.name!r} is closed")
        if not isinstance(entry, Entry):
            raise TypeError(f"must be the Entry that the consumer returned, got {entry!r}")
        event_id = self._unacked.event_id(entry.position)
        is_other = event_id is not None and event_id != entry.event.id
        if entry.position > self._delivered_up_to or is_other:
            raise JournalError(f"consumer {self.name!r} has never given {entry.position} like this")

    async def flush(self) -> None:
        """Return when all acks so far are stored.

        Raises:
            JournalError: they could not be stored now; it goes on trying.
        """
        try:
            await self._acks.store()
        except _FAULTS as exc:
            raise JournalError(f"consumer {self.name!r} cannot store its acks now: {exc}") from exc
