"""``StreamCursor``: reads the entries of a stream in order.

**Nothing is skipped.** The messages come from a ``PullSubscription``. When that is broken, or the
connection is lost, the JetStream consumer is created again after the last entry that was read.

**Loss.** Positions of a stream are dense, so a cursor of everything sees each hole. A cursor that
has filters compares its position with the stream's first entry: before it takes an entry that does
not follow the last one, unless ``RetentionBounds`` excludes a loss. One question serves all
messages that have come until then. The gap counts entries of any kind. It can count entries that
the cursor would have passed over, if retention overtakes it between two questions; it never counts
less.

While it waits for an entry, its position moves on to the newest one that the server has passed
over, so that what retention removes later is not taken for a loss.

Invariants: a cancelled call has taken nothing; at most three batches are here and not taken; a gap
is never behind an entry in ``_ready``, so everything behind the first entry there can be read again
without counting a loss twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from math import inf
from types import TracebackType
from typing import Any, Protocol, Self

from uuid_utils import uuid7

from edr._util.backoff import Backoff
from edr.bus import Gap
from edr.delivery import MAX_DELAY
from edr.errors import InvalidEventError
from edr.journal import Entry, JournalError, WrongJournalError
from edr.journal.options import check_at_least
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.stream_api import MessageMetadata, StreamApi, StreamError, parse_reply
from edr.links.stream_pulls import Message, PullSubscription
from edr.links.stream_retention import EPOCH, RetentionBounds
from edr.links.stream_start import Start
from edr.links.subject import filters_of, stem_of
from edr.records import Binding, Event

BATCH = 256
"""Messages of a request. More make nothing faster, and a slow consumer holds them."""

READ_AHEAD = 64
"""Entries that a call for one entry reads at once: below 2 ms, in which the loop has no turn."""

MAX_FILTERS = 32
"""Filters of a JetStream consumer; the server compares each message with each."""

INACTIVE_THRESHOLD = 300.0
"""Seconds without a request after which the server deletes the JetStream consumer of a cursor. The
cursor creates it again."""

RECREATE_INTERVAL = 0.1
"""Seconds between two attempts to make a server consumer that the server keeps ending."""

INFO_INTERVAL = 0.25
"""Seconds without a message after which a cursor that is not known to be caught up asks."""

IDLE_INFO_INTERVAL = 5.0
"""Seconds between two questions while it is caught up and waits, at most."""

MIN_INFO_INTERVAL = 0.05
"""The same, at least."""

_new_entry = tuple.__new__  # half the time of ``Entry(…)``, which runs for each entry


class StreamJournal(Protocol):
    """The journal, as its cursors see it."""

    timeout: float
    corrupt: int
    prefix: str

    @property
    def api(self) -> StreamApi | None:
        """The API of the present connection."""
        ...

    @property
    def id(self) -> str:
        """The journal's."""
        ...

    async def connected(self) -> StreamApi:
        """Return the API, waiting for a connection."""
        ...

    async def info(self, api: StreamApi) -> Mapping[str, Any]:
        """Return the settings and the state of the stream, which is the one that was opened."""
        ...

    @property
    def first(self) -> int:
        """The oldest position that is known here."""
        ...

    async def position_before_last(self, bindings: tuple[Binding, ...], count: int) -> int:
        """Return the position before the last ``count`` entries that match."""
        ...

    @property
    def newest(self) -> int:
        """The newest position that is known here."""
        ...

    def remove_cursor(self, cursor: StreamCursor) -> None:
        """Called by a cursor when it was closed."""
        ...


class StreamCursor:
    """Reads the entries of a stream in order; see ``edr.journal.Cursor``."""

    def __init__(
        self, journal: StreamJournal, bindings: tuple[Binding, ...], start: Start, *, live: bool
    ) -> None:
        self._journal = journal
        self._start = start
        self._live = live
        self._set_bindings(bindings)
        self.now: asyncio.Future[int] | None = None
        """The newest position when the cursor was created, if it starts there."""
        self._position = 0
        self._is_placed = False
        self._caught_up = False
        self._closed = False
        self._waiting_task: asyncio.Task[Any] | None = None
        self._turn = asyncio.Lock()
        """Held for each step that reads or creates the JetStream consumer."""
        self._ready: deque[Entry | Gap] = deque()
        """The items that were read and not returned."""
        self._arrived = asyncio.Event()
        self._pulls: PullSubscription | None = None
        self._retention = RetentionBounds()
        self._recorded_at = EPOCH
        """No entry after the position was recorded earlier."""
        self._covered = 0
        """The number of the last message that had arrived when the state was last requested."""
        self._answered = 0
        """The same, when the answer arrived."""
        self._end: int | None = None
        """The last position of a cursor that is not live."""
        self._fault: str | None = None
        """The error of the server when it did not permit something."""
        self._retries = Backoff(RECREATE_INTERVAL, MAX_DELAY)
        self._idle = IDLE_INFO_INTERVAL
        """Seconds between two requests for the state while it is caught up."""
        self._checks = Backoff(INFO_INTERVAL, IDLE_INFO_INTERVAL)
        """Seconds until the next request while it is not."""
        self._consumer_name = ""
        self._batch = BATCH
        self._made_at = -inf

    def _set_bindings(self, bindings: tuple[Binding, ...]) -> None:
        self._bindings = bindings
        prefix = self._journal.prefix
        self._filters = (
            list(filters_of(*bindings, limit=MAX_FILTERS, prefix=prefix)) if bindings else []
        )

    @property
    def position(self) -> int:
        """Where it stands: ``cursor(after=position)`` goes on from here."""
        for item in self._ready:
            if isinstance(item, Entry) and self._is_new(item):
                return item.position - 1
        return self._position

    @property
    def caught_up(self) -> bool:
        """Whether it has given everything that was stored when it last looked."""
        return self._caught_up and not self._ready

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next matching entry, waiting until there is one; see ``Cursor``.

        Cancellation: safe. A cancelled call has taken nothing.

        Raises:
            JournalError: it cannot be read now; or another task asks it.
            WrongJournalError: it was to begin at a position that the journal never gave.
        """
        while await self._wait_ready(READ_AHEAD):
            if items := self._hand_out(1):
                return items[0]
        raise StopAsyncIteration

    async def take(self, limit: int) -> list[Entry | Gap]:
        """Return the next matching entries, at most ``limit``; see ``Cursor``.

        Cancellation, errors: as ``__anext__``.
        """
        check_at_least("limit", limit, 1)
        while await self._wait_ready(min(limit, BATCH)):
            if items := self._hand_out(limit):
                return items
        return []

    async def _wait_ready(self, limit: int) -> bool:
        """Wait until items are ready, about ``limit`` if they are here. Return False at the end."""
        while self._waiting_task is not None:
            if not self._waiting_task.cancelling():
                raise JournalError("another task waits for the next entry of this reading")
            await asyncio.sleep(0)  # it was cancelled, and has not had its turn yet
        if self._ready and not self._closed and not self._may_be_lost():
            return not self._has_ended
        self._waiting_task = asyncio.current_task()
        try:
            while not self._has_ended:
                if self._ready:
                    if not self._may_be_lost():
                        return True
                    await self._drop_lost()
                    if self._ready:
                        return not self._has_ended
                elif self._end is not None and self._position >= self._end:
                    await self.aclose()
                else:
                    await self._step(limit)
            return False
        finally:
            self._waiting_task = None

    def _may_be_lost(self) -> bool:
        """Return whether a consumer must ask if retention has removed entries that are ready."""
        return False

    async def _drop_lost(self) -> None:
        """Report the entries that are ready and that retention has removed."""

    @property
    def _has_ended(self) -> bool:
        return self._closed

    def _hand_out(self, limit: int) -> list[Entry | Gap]:
        """Remove the first items that are ready, at most ``limit``, and return them."""
        ready = self._ready
        if limit >= len(ready):
            items = list(ready)
            ready.clear()
            return items
        return [ready.popleft() for _ in range(limit)]

    def _is_new(self, entry: Entry) -> bool:  # noqa: ARG002 - for a consumer
        """Return whether the entry was not returned before."""
        return True

    async def _step(self, limit: int) -> None:
        """Read messages that are here until ``limit`` items are ready, or wait for some."""
        async with self._turn:
            if self._pulls is not None and self._pulls.messages:
                await self._read_some(limit)
            else:
                await self._fill()

    def wake(self) -> None:
        """Wake the waiting call: the connection was lost, or the journal was closed."""
        self._arrived.set()

    def not_permitted(self, subject: str, words: str) -> None:
        """Fail the waiting call, if the server denied a subject of this cursor."""
        if f".{self._consumer_name}".lower() in subject:
            self._fault = words
            self.wake()

    async def aclose(self) -> None:
        """End it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.now is not None:
            self.now.cancel()
        self._journal.remove_cursor(self)
        self._arrived.set()
        await self._leave()
        self._position = self.position  # before the entries that were ready and not returned
        self._ready.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # The JetStream consumer

    @property
    def _api(self) -> StreamApi | None:
        """The API of the connection over which messages come; None if they do not come."""
        pulls = self._pulls
        return None if pulls is None or pulls.is_broken else pulls.api

    def _break(self) -> None:
        """Create the JetStream consumer again before anything else is read."""
        if self._pulls is not None:
            self._pulls.end()

    async def _fill(self) -> None:
        """Wait until a message has come, or until something else has happened."""
        try:
            api = None if self._has_ended else await self._connected()
            if api is None:
                return
            if api is not self._api:
                await self._consume(api)
                return
            assert self._pulls is not None
            self._retries.reset()
            self._pulls.request()
            if self._pulls.is_broken:  # the connection was lost just now
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._arrived.wait()
                self._checks.reset()
            except TimeoutError:
                await self._refresh(api)
            self._check_permitted()
        except LinkError as exc:
            self._break()
            if not (isinstance(exc, StreamError) and exc.is_temporary):
                raise JournalError(f"{self._journal!r} cannot be read now: {exc}") from exc
            # Such as: a leader is being elected. As after a lost connection, it is tried again.
            logger.info("%r: %s; trying again", self._journal, exc)
            await asyncio.sleep(self._retries.next())
        except (ConnectionError, TimeoutError):
            self._break()  # and again, when there is a new connection
        except JournalError:
            if not self._closed:
                raise

    async def _connected(self) -> StreamApi | None:
        """Return the API, waiting for a connection. None if the cursor was woken up before."""
        if self._journal.api is not None:
            return await self._journal.connected()
        connecting = asyncio.ensure_future(self._journal.connected())
        self._arrived.clear()
        waking = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({connecting, waking}, return_when=asyncio.FIRST_COMPLETED)
            return await connecting if connecting.done() else None
        finally:
            connecting.cancel()
            waking.cancel()

    def _check_permitted(self) -> None:
        if self._fault is not None:
            words, self._fault = self._fault, None
            self._break()
            raise JournalError(f"{self._journal!r} cannot be read: {words}")

    def _patience(self) -> float | None:
        """Return the seconds to wait for a message, before the server is asked what there is."""
        if not self._caught_up:
            return self._checks.next()
        if not self._filters or not self._retention.can_remove:
            return None  # a missing range would be seen, or cannot occur
        return self._idle

    async def _refresh(self, api: StreamApi) -> None:
        """Move to the newest entry, if the server has skipped all entries that do not match."""
        last, asked_at = self._retention.last, self._retention.asked_at
        await self._ask_stream(api)
        info = await api.consumer(self._consumer_name)
        if info is None:
            self._break()
            return
        if self._api is not api or (self._pulls is not None and self._pulls.messages):
            return
        grown, passed = self._retention.last - last, self._retention.asked_at - asked_at
        if grown:
            # A quarter of the time in which retention removes all that there is now.
            size = self._retention.last - self._retention.first
            self._idle = min(
                IDLE_INFO_INTERVAL, max(MIN_INFO_INTERVAL, passed * size / (4 * grown))
            )
        # A request that waits at the server has found nothing, whatever num_pending says: that can
        # be too high after retention has removed entries.
        most = info["config"].get("max_ack_pending", inf)  # none where none is acknowledged
        waits = info["num_waiting"] and info["num_ack_pending"] < most
        if waits or not info["num_pending"]:
            self._settle(is_idle=True)

    def _settle(self, *, is_idle: bool = False) -> None:  # noqa: ARG002 - for a consumer
        """Stand at the newest entry that there was when the stream was asked."""
        self._caught_up = True
        if self._retention.last > self._position:
            self._position = self._retention.last
            self._recorded_at = self._retention.at

    async def _consume(self, api: StreamApi) -> None:
        """Listen, and create a JetStream consumer after the last entry that was read."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._made_at + RECREATE_INTERVAL - loop.time()))
        self._made_at = loop.time()
        before, pulls = self._pulls, PullSubscription(api, self._batch, self._arrived)
        self._pulls = pulls
        pulls.is_broken = True  # until the JetStream consumer exists
        if before is not None and before.api is api:
            await before.unlisten()
        await pulls.listen()
        bindings = self._bindings
        try:
            await self._make(api, pulls)
        except JournalError:
            if self._bindings is bindings:
                raise
        # A consumer may get other bindings at any time. Then it is created again for them.
        pulls.is_broken = self._bindings is not bindings

    async def _make(self, api: StreamApi, pulls: PullSubscription) -> None:
        if not self._is_placed:
            self._position = await self._begin(api)
            self._is_placed = True
        await self._ask_stream(api)
        begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1}
        if self._start.since is not None and not self._position:
            since = self._start.since.astimezone(UTC).isoformat()
            begins = {"deliver_policy": "by_start_time", "opt_start_time": since}
        else:
            self._skip_lost(self._retention.first - 1 - self._position)
        self._consumer_name = f"edr-{uuid7().hex}"
        made = await api.create_consumer(
            self._consumer_name,
            {
                **begins,
                "ack_policy": "none",
                "filter_subjects": self._filters,
                "inactive_threshold": int(INACTIVE_THRESHOLD * 1e9),
                "mem_storage": True,
                "num_replicas": 1,
            },
        )
        self._compare_filters(made)
        pulls.begin(self._consumer_name)
        self._note_pending(made)

    async def _begin(self, api: StreamApi) -> int:
        """Return the position after which it starts."""
        if self.now is not None:
            return await asyncio.shield(self.now)
        last_position = (await self._journal.info(api))["state"]["last_seq"]
        after = self._start.after
        if after is not None:
            if after > last_position:
                raise WrongJournalError(after, self._journal.id)
            return after
        if self._start.last is not None:
            return await self._journal.position_before_last(self._bindings, self._start.last)
        return 0

    async def _leave(self) -> None:
        """Delete the JetStream consumer, if its connection still exists."""
        api = self._api
        if api is not None and api is self._journal.api:
            with suppress(LinkError, ConnectionError, TimeoutError):
                await self._release(api)

    async def _release(self, api: StreamApi) -> None:
        if self._pulls is not None:
            await self._pulls.unlisten()
        await api.delete_consumer(self._consumer_name)

    def _compare_filters(self, info: Mapping[str, Any]) -> None:
        config = info["config"]
        one = [config["filter_subject"]] if config.get("filter_subject") else []
        found = config.get("filter_subjects") or one
        if sorted(found) != sorted(self._filters):
            raise JournalError(f"the server was asked for {self._filters}, and gives {found}")

    async def _ask_stream(self, api: StreamApi) -> None:
        """Ask for the state of the stream; the answer covers the messages that are here now."""
        asked_at, covered = self._now(), self._newest_number
        self._retention.note(await self._journal.info(api), asked_at)
        self._covered, self._answered = covered, self._newest_number

    @property
    def _newest_number(self) -> int:
        return 0 if self._pulls is None else self._pulls.newest_number

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _note_pending(self, info: Mapping[str, Any]) -> None:
        self._caught_up = not info["num_pending"]
        if not self._live and self._end is None:
            self._end = self._retention.last
        if self._caught_up:
            self._settle()

    # Its messages

    async def _read_some(self, limit: float) -> None:
        """Read messages until ``limit`` items are ready, at most a batch."""
        pulls, ready = self._pulls, self._ready
        assert pulls is not None
        messages = pulls.messages
        for _ in range(BATCH):  # a hot loop: it runs for each message
            if not messages or len(ready) >= limit:
                break
            message = messages[0]
            meta = parse_reply(message[1])
            if meta.position > self._position + 1 and not await self._may_pass(meta):
                break
            if not pulls.is_next(meta) or not self._read(meta, message):
                break
            pulls.drop_first()
            self._caught_up = not meta.pending
            if self._caught_up and meta.consumer_position > self._answered:
                self._settle()  # the server gave it after it had told what is the last one
        else:
            if not ready:
                await asyncio.sleep(0)
        pulls.request()

    async def _may_pass(self, meta: MessageMetadata) -> bool:
        """Return whether the message, which does not follow the position, can be read now."""
        if not self._filters:
            return not self._ready  # it stands after a gap
        may_hide_loss = meta.consumer_position > self._covered and (
            not self._retention.keeps_all_after(self._position, self._recorded_at, self._now())
        )
        if not may_hide_loss and (not self._ready or self._retention.first <= self._position + 1):
            return True
        if may_hide_loss and not self._ready:  # else it is asked when those were taken
            await self._look()  # the messages may be gone by now
        return False

    def _read(self, meta: MessageMetadata, message: Message) -> bool:
        """Read a message. Return False, without any effect, if items must be returned before."""
        subject, reply, payload = message
        event = self._event(subject, payload)
        if event is None and self._ready:
            return False
        position = meta.position
        if position != self._position + 1:
            if not self._position and self._start.since is not None:
                self._position = position - 1
            elif position > self._position:
                first = self._retention.first
                lost_before = min(first, position) if self._filters else position
                self._skip_lost(lost_before - 1 - self._position)
        if self._end is not None and position > self._end:
            self._position = self._end
            return True
        if position > self._position:
            self._position = position
            self._recorded_at = meta.recorded_at
        if event is None:
            self._journal.corrupt += 1
            self._ready.append(Gap(1))
            self._skip(position, reply)
        elif not self._bindings or self._matches(event):
            entry = _new_entry(Entry, (position, meta.recorded_at, event, meta.delivery))
            self._deliver(entry, reply)
        else:
            self._skip(position, reply)
        return True

    def _matches(self, event: Event) -> bool:
        return not self._bindings or any(binding.matches(event) for binding in self._bindings)

    def _event(self, subject: bytes, payload: bytes) -> Event | None:
        """Return the event of a message; None if it is invalid or does not fit its subject."""
        try:
            event = Event.from_json(payload)
        except InvalidEventError:
            return None
        stem = subject[: subject.rfind(b".")]
        return event if stem_of(event, self._journal.prefix).encode() == stem else None

    def _deliver(self, entry: Entry, reply: bytes) -> None:  # noqa: ARG002 - for a consumer
        self._ready.append(entry)

    def _skip(self, position: int, reply: bytes) -> None:
        """Called for a message that gives no entry; a consumer acknowledges it."""

    def _skip_lost(self, count: int) -> None:
        """Report ``count`` removed entries after the position, and move past them."""
        if count > 0:
            self._position += count
            self._ready.append(Gap(count))

    async def _look(self) -> None:
        """Request the state of the stream. If that fails, create the consumer again."""
        api = self._api
        if api is not None:
            try:
                await self._ask_stream(api)
            except (LinkError, ConnectionError, TimeoutError):
                self._break()
        if self._api is None:
            self._break()  # the messages come again, after the position
