"""``StreamCursor``: the entries of a stream, one after the other. It pulls, and is not pushed at.

The server_consumer of a stream is asked for ``BATCH`` messages at a time, two requests ahead, so
that the next ones are here before these are used up. (``fetch`` of the client library waits for
each batch,
and makes a subscription for it: six times the cost.)

**No hole.** A server_consumer numbers what it gives. If a number is missing, or the server_consumer
is gone, or the connection, it is made anew behind the last entry that was taken.

**Loss.** Positions of a stream are dense, so a reading of everything sees each hole. A reading that
has filters compares its position with the stream's first entry: before it takes an entry that does
not follow the last one, unless ``Horizon`` excludes a loss. One question serves all messages that
have come until then. The gap counts entries of any kind. It can count entries that the reading
would have passed over, if retention overtakes it between two questions; it never counts less.

While it waits for an entry, its position moves on to the newest one that the server has passed
over, so that what retention removes later is not taken for a loss.

Invariants: a cancelled call has taken nothing; at most three batches are here and not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from uuid_utils import uuid7

from edr.bus import Gap
from edr.delivery import MAX_DELAY
from edr.errors import InvalidEventError
from edr.journal import Entry, JournalError, WrongJournalError
from edr.links.errors import LinkError
from edr.links.log import logger
from edr.links.nats_client import (
    A_TURN,
    NO_RESPONDERS,
    Connection,
    status_of,
)
from edr.links.stream_api import Meta, StreamApi, StreamError, meta_of
from edr.links.stream_horizon import LONG_AGO, Horizon
from edr.links.subject import filters_of, stem_of
from edr.records import Binding, Event

BATCH = 256
"""Messages of a request. More make nothing faster, and a slow consumer holds them."""

PULLS_AHEAD = 2
"""Requests that stand at the server: one is being answered, the other one comes next."""

PULL_SECONDS = 30.0
"""Seconds for which a request stands, if nothing comes."""

MOST_FILTERS = 32
"""Filters of a server_consumer; the server compares each message with each."""

FORGOTTEN_AFTER = 300.0
"""Seconds after which the server forgets a look that nobody pulls; it is made anew then."""

MADE_EACH = 0.1
"""Seconds between two attempts to make a server consumer that the server keeps ending."""

LOOK_EACH = 0.25
"""Seconds without a message after which a reading that is not known to be caught up asks."""

LOOK_IDLE = 5.0
"""Seconds between two questions while it is caught up and waits, at most."""

SHORTEST_IDLE = 0.05
"""The same, at least."""

CONFLICT = 409


class Start(NamedTuple):
    """Where a look begins."""

    after: int | None
    since: datetime | None
    last: int | None

    @property
    def is_now(self) -> bool:
        """Whether it begins with what comes from now on."""
        return self == (None, None, None)


def start_of(after: int | None, since: datetime | timedelta | None, last: int | None) -> Start:
    """Return where a look begins.

    Raises:
        ValueError: more than one is given, or a wrong one.
    """
    if sum(value is not None for value in (after, since, last)) > 1:
        raise ValueError("give one of after, since and last")
    for name, value in (("after", after), ("last", last)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{name} is a number, 0 or more, not {value!r}")
    if isinstance(since, timedelta):
        if since < timedelta():
            raise ValueError(f"since is a time that has passed, not {since}")
        since = datetime.now(UTC) - since
    if since is not None and since.tzinfo is None:
        raise ValueError("since needs a UTC offset; this one is naive")
    return Start(after, since, last)


class StreamJournal(Protocol):
    """The journal, as its readings see it."""

    timeout: float
    corrupt: int
    prefix: str

    @property
    def api(self) -> StreamApi | None:
        """Of the connection that there is now."""
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
        """Return behind which position the last ``count`` entries are that match."""
        ...

    @property
    def newest(self) -> int:
        """The newest position that is known here."""
        ...

    def is_done(self, reading: StreamCursor) -> None:
        """Hear that a reading has ended."""
        ...


class StreamCursor:
    """The entries of a stream, one after the other; see ``edr.journal.Cursor``."""

    def __init__(
        self, journal: StreamJournal, bindings: tuple[Binding, ...], start: Start, *, live: bool
    ) -> None:
        self._journal = journal
        self._bindings = bindings
        self._start = start
        self._live = live
        self._filters = (
            list(filters_of(*bindings, limit=MOST_FILTERS, prefix=journal.prefix))
            if bindings
            else []
        )
        self.now: asyncio.Future[int] | None = None
        """Where "now" was, for one that begins there; as soon as the server has said it."""
        self._position = 0
        self._is_placed = False
        self._caught_up = False
        self._closed = False
        self._asker: asyncio.Task[Any] | None = None
        # Messages as they came, and what was made of those that were taken.
        self._raw: deque[tuple[bytes, bytes, bytes]] = deque()
        self._ready: deque[Entry | Gap] = deque()
        self._arrived = asyncio.Event()
        self._horizon = Horizon()
        self._recorded_at = LONG_AGO
        """No entry after the position was recorded earlier."""
        self._covered = 0
        """The number of the last message that had come when the stream was last asked."""
        self._answered = 0
        """The same, when it answered."""
        self._end: int | None = None
        """The last position that one which is not live gives."""
        self._fault: str | None = None
        """What the server did not permit."""
        self._pause = MADE_EACH
        self._idle = LOOK_IDLE
        """Seconds between two questions while it is caught up."""
        self._wait = LOOK_EACH
        """Seconds until the next one while it is not."""

        self._api: StreamApi | None = None
        self._listens_on: Connection | None = None
        self._server_consumer = ""
        self._inbox = ""
        self._number = 0
        self._next = 1
        self._batch = BATCH
        self._at_once = A_TURN
        """Entries that are made of messages before one of them is taken."""
        self._pulls = 0
        self._open_pulls: dict[int, int] = {}
        self._made_at = -inf

    @property
    def position(self) -> int:
        """Where it stands: ``cursor(after=position)`` goes on from here."""
        ready = (item.position - 1 for item in self._ready if isinstance(item, Entry))
        return next(ready, self._position)

    @property
    def caught_up(self) -> bool:
        """Whether it has given everything that was stored when it last looked."""
        return self._caught_up and not self._ready

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry | Gap:
        """Return the next entry that is wanted, waiting until there is one.

        Cancellation: safe. A cancelled call has taken nothing.

        Raises:
            JournalError: it cannot be read now; or another task asks it.
            WrongJournalError: it was to begin at a position that the journal never gave.
        """
        if self._ready and self._asker is None:
            return self._ready.popleft()
        while self._asker is not None:
            if not self._asker.cancelling():
                raise JournalError("another task waits for the next entry of this reading")
            await asyncio.sleep(0)  # it was cancelled, and has not had its turn yet
        self._asker = asyncio.current_task()
        try:
            while not self._closed:
                if self._ready:
                    return self._ready.popleft()
                if self._end is not None and self._position >= self._end:
                    await self.aclose()
                elif self._raw:
                    await self._take_some()
                else:
                    await self._fill()
            raise StopAsyncIteration
        finally:
            self._asker = None

    def wake(self) -> None:
        """Look again: the connection was lost, or the journal is closed."""
        self._arrived.set()

    def not_permitted(self, subject: str, words: str) -> None:
        """Fail the call that waits, if it is for this reading that the server did not permit it."""
        if f".{self._server_consumer}".lower() in subject:
            self._fault = words
            self.wake()

    async def aclose(self) -> None:
        """End it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.now is not None:
            self.now.cancel()
        self._journal.is_done(self)
        self._arrived.set()
        await self._leave()
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

    # Its server_consumer

    async def _fill(self) -> None:
        """Wait until a message has come, or until something else has happened."""
        try:
            api = await self._journal.connected()
            if api is not self._api:
                await self._consume(api)
                return
            self._pause = MADE_EACH
            self._pull(api)
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._patience()):
                    await self._arrived.wait()
                self._wait = LOOK_EACH
            except TimeoutError:
                await self._refresh(api)
            self._check_permitted()
        except LinkError as exc:
            self._api = None
            if not (isinstance(exc, StreamError) and exc.may_pass):
                raise JournalError(f"{self._journal!r} cannot be read now: {exc}") from exc
            # Such as: a leader is being elected. As after a lost connection, it is tried again.
            logger.info("%r: %s; trying again", self._journal, exc)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, MAX_DELAY)
        except (ConnectionError, TimeoutError):
            self._api = None  # and again, when there is a new connection
        except JournalError:
            if not self._closed:
                raise

    def _check_permitted(self) -> None:
        if self._fault is not None:
            words, self._fault, self._api = self._fault, None, None
            raise JournalError(f"{self._journal!r} cannot be read: {words}")

    def _patience(self) -> float | None:
        """Return the seconds to wait for a message, before the server is asked what there is."""
        if not self._is_settled:
            return self._wait
        if not self._filters or not self._horizon.can_lose:
            return None  # a hole would be seen, or there is none
        return self._idle

    @property
    def _is_settled(self) -> bool:
        """Whether nothing is expected but new entries."""
        return self._caught_up

    async def _refresh(self, api: StreamApi) -> None:
        """Move on to the newest entry, if the server has passed over all that is not wanted."""
        self._wait = min(2 * self._wait, LOOK_IDLE)
        last, asked_at = self._horizon.last, self._horizon.asked_at
        await self._ask_stream(api)
        server_consumer = await api.consumer(self._server_consumer)
        if server_consumer is None:
            self._api = None
            return
        if self._api is not api or self._raw:
            return
        grown, passed = self._horizon.last - last, self._horizon.asked_at - asked_at
        if grown:
            # A quarter of the time in which retention removes all that there is now.
            size = self._horizon.last - self._horizon.first
            self._idle = min(LOOK_IDLE, max(SHORTEST_IDLE, passed * size / (4 * grown)))
        # A request that waits at the server has found nothing, whatever num_pending says: that can
        # be too high after retention has removed entries.
        most = server_consumer["config"].get(
            "max_ack_pending", inf
        )  # none where none is acknowledged
        waits = server_consumer["num_waiting"] and server_consumer["num_ack_pending"] < most
        if waits or not server_consumer["num_pending"]:
            self._settle(is_idle=True)

    def _settle(self, *, is_idle: bool = False) -> None:  # noqa: ARG002 - for a consumer
        """Stand at the newest entry that there was when the stream was asked."""
        self._caught_up = True
        if self._horizon.last > self._position:
            self._position = self._horizon.last
            self._recorded_at = self._horizon.at

    async def _consume(self, api: StreamApi) -> None:
        """Listen, and make a server_consumer behind the last entry that was taken."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._made_at + MADE_EACH - loop.time()))
        self._made_at = loop.time()
        self._raw.clear()
        self._open_pulls.clear()
        self._next = 1
        self._inbox = api.connection.new_inbox()
        if self._listens_on is api.connection:
            await api.connection.unlisten(self._number)
        self._listens_on = api.connection
        self._number = await api.connection.listen(f"{self._inbox}.*", self._came)
        await self._make(api)
        self._api = api

    async def _make(self, api: StreamApi) -> None:
        if not self._is_placed:
            self._position = await self._begin(api)
            self._is_placed = True
        await self._ask_stream(api)
        begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._position + 1}
        if self._start.since is not None and not self._position:
            since = self._start.since.astimezone(UTC).isoformat()
            begins = {"deliver_policy": "by_start_time", "opt_start_time": since}
        else:
            self._lose(self._horizon.first - 1 - self._position)
        self._server_consumer = f"edr-{uuid7().hex}"
        made = await api.make_consumer(
            self._server_consumer,
            {
                **begins,
                "ack_policy": "none",
                "filter_subjects": self._filters,
                "inactive_threshold": int(FORGOTTEN_AFTER * 1e9),
                "mem_storage": True,
                "num_replicas": 1,
            },
        )
        self._compare_filters(made)
        self._note_pending(made)

    async def _begin(self, api: StreamApi) -> int:
        """Return the position behind which it begins."""
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
        """Delete its server_consumer, if the connection on which it was made is there."""
        api = self._api
        if api is not None and api is self._journal.api:
            with suppress(LinkError, ConnectionError, TimeoutError):
                await self._let_go(api)

    async def _let_go(self, api: StreamApi) -> None:
        await api.connection.unlisten(self._number)
        await api.delete_consumer(self._server_consumer)

    def _compare_filters(self, server_consumer: Mapping[str, Any]) -> None:
        config = server_consumer["config"]
        one = [config["filter_subject"]] if config.get("filter_subject") else []
        found = config.get("filter_subjects") or one
        if sorted(found) != sorted(self._filters):
            raise JournalError(f"the server was asked for {self._filters}, and gives {found}")

    async def _ask_stream(self, api: StreamApi) -> None:
        """Ask for the state of the stream; the answer covers the messages that are here now."""
        asked_at, covered = self._now(), self._newest_number
        self._horizon.note(await self._journal.info(api), asked_at)
        self._covered, self._answered = covered, self._newest_number

    @property
    def _newest_number(self) -> int:
        """The server_consumer's number of the last message that has come."""
        return self._next + len(self._raw) - 1

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _note_pending(self, server_consumer: Mapping[str, Any]) -> None:
        self._caught_up = not server_consumer["num_pending"]
        if not self._live and self._end is None:
            self._end = self._horizon.last
        if self._caught_up:
            self._settle()

    def _pull(self, api: StreamApi) -> None:
        while len(self._open_pulls) < PULLS_AHEAD:
            self._pulls += 1
            self._open_pulls[self._pulls] = self._batch
            api.pull(
                self._server_consumer, self._batch, PULL_SECONDS, f"{self._inbox}.{self._pulls}"
            )

    # Its messages

    def _came(
        self, number: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        if number != self._number:
            return  # for the server_consumer before this one
        status = 0 if payload else status_of(headers)
        if status:
            # The status of a request comes to the request; the messages under their own subjects.
            self._open_pulls.pop(int(subject[subject.rfind(b".") + 1 :]), None)
            if status == NO_RESPONDERS or (status == CONFLICT and b"Completed" not in headers):  # type: ignore[operator]  # it has a status
                self._api = None  # the server_consumer is gone, or has moved
        else:
            self._raw.append((subject, reply, payload))
            for pull, left in self._open_pulls.items():  # they are answered one after the other
                if left > 1:
                    self._open_pulls[pull] = left - 1
                else:
                    del self._open_pulls[pull]
                break
        self._arrived.set()

    async def _take_some(self) -> None:
        """Take up to ``A_TURN`` messages, at most until ``_at_once`` entries are ready."""
        for _ in range(A_TURN):
            if not self._raw or len(self._ready) >= self._at_once:
                return
            meta = meta_of(self._raw[0][1])
            if meta.position > self._position + 1 and self._may_hide_a_loss(meta):
                if not self._ready:  # else it is asked when those were taken
                    await self._look()
                return  # the messages may be gone by now
            self._take(meta)
        if not self._ready:
            await asyncio.sleep(0)

    def _may_hide_a_loss(self, meta: Meta) -> bool:
        """Return whether entries may have been removed unseen, in front of this message."""
        return (
            bool(self._filters)
            and meta.consumer_position > self._covered
            and not self._horizon.spares(self._position, self._recorded_at, self._now())
        )

    def _take(self, meta: Meta) -> None:
        """Take a message; its entry is ready then, if it is wanted."""
        subject, reply, payload = self._raw.popleft()
        if meta.consumer_position != self._next:
            self._api = None  # one was lost on the way: again behind the last that was taken
            self._raw.clear()
            return
        self._next += 1
        if self._api is not None and len(self._open_pulls) < PULLS_AHEAD:
            with suppress(ConnectionError):
                self._pull(self._api)
        self._caught_up = not meta.pending
        self._read(meta, subject, reply, payload)
        if self._caught_up and meta.consumer_position > self._answered:
            self._settle()  # the server gave it after it had told what is the last one

    def _read(self, meta: Meta, subject: bytes, reply: bytes, payload: bytes) -> None:
        if not self._position and self._start.since is not None:
            self._position = meta.position - 1
        if self._end is not None and meta.position > self._end:
            self._position = self._end
            return
        if meta.position == self._position + 1:
            self._position = meta.position
            self._recorded_at = meta.recorded_at
        elif meta.position > self._position:
            first = self._horizon.first
            lost_before = min(first, meta.position) if self._filters else meta.position
            self._lose(lost_before - 1 - self._position)
            self._position = meta.position
            self._recorded_at = meta.recorded_at
        event = self._event(subject, payload)
        if event is None:
            self._journal.corrupt += 1
            self._ready.append(Gap(1))
            self._pass_over(meta.position, reply)
        elif not self._bindings or any(binding.matches(event) for binding in self._bindings):
            self._give(Entry(meta.position, meta.recorded_at, event, meta.delivery), reply)
        else:
            self._pass_over(meta.position, reply)

    def _event(self, subject: bytes, payload: bytes) -> Event | None:
        """Return the event of a message; None if it is none, or does not belong to its subject."""
        try:
            event = Event.from_json(payload)
        except InvalidEventError:
            return None
        stem = subject[: subject.rfind(b".")]
        return event if stem_of(event, self._journal.prefix).encode() == stem else None

    def _give(self, entry: Entry, _reply: bytes) -> None:
        self._ready.append(entry)

    def _pass_over(self, position: int, reply: bytes) -> None:
        """Take note of a message that gives no entry."""

    def _lose(self, count: int) -> None:
        """Tell of entries that are not there any more, behind the position, and move past them."""
        if count > 0:
            self._position += count
            self._ready.append(Gap(count))

    async def _look(self) -> None:
        """Learn what retention has left. If that fails, the server consumer is made again."""
        api = self._api
        if api is not None:
            try:
                await self._ask_stream(api)
            except (LinkError, ConnectionError, TimeoutError):
                self._api = None
        if self._api is None:
            self._raw.clear()  # they come again, after the position
