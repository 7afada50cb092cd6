"""``Appender``: events on their way into a stream, in order, each once.

At most ``WINDOW`` events are sent before they are acknowledged. When the connection is lost, or the
stream is full, the unacknowledged events are sent again, from the oldest on. The server recognises
an event that it already has by its ``Nats-Msg-Id``, within the stream's duplicate window. So no
event is missing or doubled across reconnects and kills of the server.

**The id** is a digest of the event. The same event is the same bytes each time, so a repetition has
the same id. Two events that differ in anything have different ids: an event whose ``id`` was given
by hand, and is not unique, is never taken for another one.

**Refused for good** is an event that is too large, or not permitted. It is counted, logged with the
server's words, and reported to the call that waits for it; the others go on. **Refused for now** is
every event while the stream or the account is full, or a server has no leader. These events stay
accepted and are sent again. A call waits at most ``patience`` seconds in which nothing at all is
stored; then it gets the reason as an error, and the events still stay accepted.

Sizes are checked when an event is sent, against the connection that it is sent over: the next
server may take more than the last one, or less, and ends each connection that sends it too much.

Rejected: the client library's ``publish_async``. It makes a future for each message and sends none
of them again, so a lost connection loses the events in flight, and their order.

Invariants: events are stored in the order in which they were accepted, unless the stream refuses
one and takes the next; the events in ``_sent`` are numbered without a hole.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf

import orjson

from edr.bus import RateLimitedLog
from edr.errors import InvalidEventError
from edr.journal import JournalError, JournalFullError, Refusal
from edr.journal.receipts import Receipt, Receipts, copied
from edr.links.log import logger
from edr.links.nats_client import denied_by, status_of
from edr.links.stream_api import StreamApi, StreamError
from edr.links.subject import subject_of
from edr.records import Event

WINDOW = 256
"""Events that are sent before they are acknowledged: enough for a round trip of some milliseconds,
and few to send again."""

RETRY_DELAY = 0.25
"""Seconds after which a stream that refused for now is tried again."""

RESEND_AFTER = 2.0
"""Seconds without an acknowledgement after which events are sent again."""

OVERHEAD = 34
"""Bytes that the server stores with each message, in addition to subject, headers and payload."""

_REFUSED = -1
"""The position of an event that the stream will never take."""


class _Item:
    """An event that was accepted, and is not settled yet."""

    __slots__ = ("headers", "number", "payload", "position", "subject")

    def __init__(self, number: int, event: Event, prefix: str) -> None:
        self.number = number
        self.subject = subject_of(event, 1, prefix)
        self.payload = event.to_json()
        digest = hashlib.blake2b(self.payload, digest_size=16).hexdigest().encode()
        self.headers = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % digest
        self.position = 0

    @property
    def event(self) -> Event:
        # Made again when it is needed: a copy of each waiting event would take twice the memory.
        return Event.from_json(self.payload)

    @property
    def size(self) -> int:
        return len(self.headers) + len(self.payload)


class Appender:
    """The events that a journal has accepted, until the stream has them.

    Args:
        stream: its name.
        prefix: of the subjects.
        max_pending: events that may be accepted and not stored.
        patience: seconds without any stored event after which the calls that wait get an error.
        on_mismatch: called when an answer does not fit the stream that was opened.
    """

    def __init__(
        self,
        stream: str,
        prefix: str,
        max_pending: int,
        patience: float,
        on_mismatch: Callable[[], None],
    ) -> None:
        self.error: str | None = None
        """The reason why the stream stores nothing now."""
        self.accepted: int = 0
        self.appended: int = 0
        self.failed: int = 0
        self.bytes: int = 0
        """Of the payloads that were stored."""
        self.newest: int = 0
        """The newest position that was given to one."""
        self._stream = stream
        self._prefix = prefix
        self._max_pending = max_pending
        self._patience = patience
        self._on_mismatch = on_mismatch
        self._api: StreamApi | None = None
        self._max_bytes = 0
        self._acks_to = ""
        self._sent: deque[_Item] = deque()
        self._unsent: deque[_Item] = deque()
        self._receipts = Receipts()
        self._last_position = 0
        """The position of the last event that was settled in order."""
        self._away = "there is no connection"
        self._is_paused = False
        self._is_full = False
        self._ended: JournalError | None = None
        self._sending: asyncio.Handle | None = None
        # When an event was last settled, or began to wait alone; and the timer that checks it.
        self._progress_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        # Calls that wait for room, in their order.
        self._turn = asyncio.Lock()
        self._has_room = asyncio.Event()
        # Futures for the position of the first event accepted after a number.
        self._watchers: list[tuple[int, asyncio.Future[int]]] = []
        self._log = RateLimitedLog(logger=logger)

    @property
    def waiting(self) -> int:
        """Events that are accepted and not stored."""
        return len(self._sent) + len(self._unsent)

    # Its connection

    async def begin(self, api: StreamApi, max_bytes: int, last: int) -> None:
        """Send the waiting events over a new connection, first again the unacknowledged ones.

        Args:
            api: of the new connection.
            max_bytes: that the stream may hold; 0 or less: no limit.
            last: the newest position of the stream.
        """
        if last < self.newest:
            logger.error(
                "journal %r: the server lost %d events that it had stored; positions after %d are "
                "given again",
                self._stream,
                self.newest - last,
                last,
            )
            self.newest = last
        self._acks_to = self._acks_to or api.connection.new_inbox()
        await api.connection.listen(f"{self._acks_to}.*", self._on_acked)
        self._max_bytes = max_bytes
        self._api = api
        self._is_paused = self._is_full = False
        self.error = None
        self.send_again()
        self._send()

    def end(self, reason: str) -> None:
        """Stop sending: the connection was lost, for ``reason``."""
        self._api = None
        self._away = reason
        self._has_room.set()

    def fail(self, error: JournalError) -> None:
        """Give up every event that is not stored: the stream will never take it."""
        if self._ended is not None:
            return
        self._ended = error
        if self._watch is not None:
            self._watch.cancel()
        left = sum(1 for item in (*self._sent, *self._unsent) if not item.position)
        self._sent.clear()
        self._unsent.clear()
        self.failed += left
        if left:
            logger.error("journal %r ended with %d events not stored", self._stream, left)
        self._receipts.fail(error)
        self._has_room.set()

    def close(self) -> None:
        """Give up every event that is not stored."""
        words = f"journal {self._stream!r} was closed before it was stored"
        self.fail(JournalFullError(words) if self._is_full else JournalError(words))

    # Accepting events

    async def append(self, events: tuple[Event, ...]) -> int:
        """Accept ``events``, all together, when there is room, and return when they are stored."""
        for event in events:
            if not isinstance(event, Event):
                raise InvalidEventError(f"a journal stores edr.Events, not {event!r}")
        async with self._turn:
            while self.waiting and self.waiting + len(events) > self._max_pending:
                self._check()
                if self._is_stuck:
                    raise self._not_stored_error(
                        "there is no room for these events; none was accepted"
                    )
                self._has_room.clear()
                await self._has_room.wait()
            receipt = self._accept(events)
        return await receipt

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event`` if there is room for it."""
        if not self._has_room_now:
            return False
        self._take(event)
        return True

    def submit(self, event: Event) -> Receipt | None:
        """Accept ``event`` if there is room for it; return a receipt, which waits for storage."""
        return self._accept((event,)) if self._has_room_now else None

    def report_refused(self, event: Event, reason: str) -> None:
        """Report ``event``, which was not accepted, by the next flush."""
        self._receipts.report(Refusal(event, reason))

    async def room(self) -> None:
        """Return when there is room, or waiting cannot help. It always yields to the loop."""
        await asyncio.sleep(0)
        while self.waiting >= self._max_pending and self._api is not None and not self.error:
            self._has_room.clear()
            await self._has_room.wait()

    async def flush(self) -> None:
        """Return when every accepted event is stored.

        Raises:
            EventsRefusedError: some were refused, and no call was told of it.
            JournalError: nothing was stored for ``patience`` seconds.
        """
        if not self.waiting:
            self._receipts.check()
            return
        receipt = self._receipts.expect_all(self.accepted)
        self._fail_if_stuck()
        await receipt

    async def settle(self) -> None:
        """Return when every accepted event is stored or refused; raises nothing for those."""
        if self.waiting:
            await self._receipts.expect(self.accepted + 1, self.accepted)

    async def drain(self) -> None:
        """Return when nothing waits, however long that takes. ``close`` comes next."""
        if self._watch is not None:
            self._watch.cancel()  # calls that wait get the error of ``close``
        while self.waiting:
            self._has_room.clear()
            await self._has_room.wait()

    def after(self, number: int) -> asyncio.Future[int]:
        """Return the position, when it is known, of the first event accepted after ``number``."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watchers = [pair for pair in self._watchers if not pair[1].done()]
        self._watchers.append((number, future))
        return future

    @property
    def _has_room_now(self) -> bool:
        return self.waiting < self._max_pending and not self._turn.locked()

    def _accept(self, events: tuple[Event, ...]) -> Receipt:
        self._check()
        first = self.accepted + 1
        for event in events:
            self._take(event)
        receipt = self._receipts.expect(first, self.accepted)
        self._fail_if_stuck()
        return receipt

    def _take(self, event: Event) -> None:
        item = _Item(self.accepted + 1, event, self._prefix)
        if not self.waiting:
            loop = asyncio.get_running_loop()
            self._progress_at = loop.time()
            if self._watch is None:
                self._watch = loop.call_later(min(RESEND_AFTER, self._patience), self._look)
        self.accepted += 1
        self._unsent.append(item)
        if self._sending is None:
            # At the end of the loop's turn, with all that is accepted in it.
            self._sending = asyncio.get_running_loop().call_soon(self._send_soon)

    # Patience

    def _check(self) -> None:
        if self._ended is not None:
            raise copied(self._ended)

    @property
    def _is_stuck(self) -> bool:
        now = asyncio.get_running_loop().time()
        return bool(self.waiting) and now >= self._progress_at + self._patience

    def _fail_if_stuck(self) -> None:
        if self._is_stuck:
            self._receipts.fail(
                self._not_stored_error("the events stay accepted and may yet be stored")
            )

    def _look(self) -> None:
        """Look whether there was any progress: send again, and after ``patience`` raise."""
        self._watch = None
        if not self.waiting:
            return
        loop = asyncio.get_running_loop()
        if not self._is_paused and loop.time() >= self._progress_at + RESEND_AFTER:
            self.send_again()  # a server that lost its leader has forgotten them
        if self._is_stuck:
            if self._api is not None and self.error is None:
                self.error = "the server does not acknowledge events"
                logger.warning("journal %r: %s", self._stream, self.error)
            self._fail_if_stuck()
            self._has_room.set()  # calls that wait for room get the same error
            due = inf
        else:
            due = self._progress_at + self._patience
        self._watch = loop.call_at(min(due, loop.time() + RESEND_AFTER), self._look)

    def _not_stored_error(self, consequence: str) -> JournalError:
        reason = self.error or self._away
        kind = JournalFullError if self._is_full else JournalError
        return kind(
            f"journal {self._stream!r} stored nothing for {self._patience:g} s: {reason}; "
            f"{consequence}"
        )

    # Sending events

    def _send_soon(self) -> None:
        self._sending = None
        self._send()

    def _send(self) -> None:
        if self._api is None or self._is_paused:
            return
        with suppress(ConnectionError):  # it will be sent over the next one
            while self._unsent and len(self._sent) < WINDOW:
                item = self._unsent.popleft()
                self._sent.append(item)
                self._publish(self._api, item)
                if item.position:  # refused: it takes no place in the window
                    self._settle()

    def send_again(self) -> None:
        """Send the unacknowledged events again, from the oldest on."""
        if self._api is None:
            return
        with suppress(ConnectionError):
            for item in self._sent:
                if not item.position:
                    self._publish(self._api, item)
        self._settle()

    def _publish(self, api: StreamApi, item: _Item) -> None:
        size, most = item.size, api.connection.max_payload
        if size > most:
            self._give_up(item, f"it has {size} bytes, and the server takes {most}")
            return
        kept = size + len(item.subject) + OVERHEAD
        if 0 < self._max_bytes < kept:
            words = f"it has {kept} bytes with its subject and overhead, and the stream holds "
            self._give_up(item, f"{words}{self._max_bytes}")
            return
        reply = f"{self._acks_to}.{item.number}"
        api.connection.publish_nowait(item.subject, item.payload, reply, item.headers)

    @property
    def oldest(self) -> int:
        """The number of the oldest event that was sent and is not acknowledged; 0 if none is."""
        return self._sent[0].number if self._sent else 0

    # Answers of the server

    def _on_acked(
        self, _number: int, subject: bytes, _reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        number = int(subject[subject.rfind(b".") + 1 :])
        index = number - self.oldest
        if not self._sent or not 0 <= index < len(self._sent) or self._sent[index].position:
            return  # the second answer for one that was sent twice
        item = self._sent[index]
        if status_of(headers):
            self._hold(StreamError({"code": 503, "description": "no stream takes this subject"}))
            self._on_mismatch()
            return
        answer = orjson.loads(payload)
        if "error" in answer:
            self._answered(item, StreamError(answer["error"]))
        elif answer["seq"] <= self.newest and not answer.get("duplicate"):
            self._on_mismatch()  # positions rise, unless this is another stream
            return
        else:
            self._stored(item, answer["seq"])
        self._settle()
        if len(self._sent) <= WINDOW // 2:  # not one by one
            self._send()

    def _stored(self, item: _Item, position: int) -> None:
        item.position = position
        if not self._is_paused and self.error is not None:
            logger.warning("journal %r stores events again", self._stream)
            self.error = None
            self._is_full = False
        self.appended += 1
        self.bytes += len(item.payload)
        self.newest = max(self.newest, position)
        for accepted, future in self._watchers:
            if item.number > accepted and not future.done():
                future.set_result(position)

    def _settle(self) -> None:
        """Settle, in order, the events that are stored or refused."""
        if not self._sent or not self._sent[0].position:
            return
        self._progress_at = asyncio.get_running_loop().time()
        while self._sent and self._sent[0].position:
            item = self._sent.popleft()
            if item.position != _REFUSED:
                self._last_position = item.position
            self._receipts.settled(item.number, self._last_position)
        self._has_room.set()

    def _answered(self, item: _Item, exc: StreamError) -> None:
        if exc.is_temporary:
            self._hold(exc)
            return
        self._give_up(item, str(exc))
        if exc.is_about_stream:
            self._on_mismatch()

    def not_permitted(self, words: str) -> None:
        """Give up the event that the server did not permit to publish.

        Args:
            words: the server's. It names the subject, in small letters.
        """
        verb, subject = denied_by(words) or ("", "")
        if verb != "publish":
            return
        for item in self._sent:
            if not item.position and item.subject.lower() == subject:
                self._give_up(item, f"it is not permitted: {words}")
                self._settle()
                self._send()
                return

    def _give_up(self, item: _Item, reason: str) -> None:
        item.position = _REFUSED
        self.failed += 1
        event = item.event
        self._log.log(
            logging.ERROR,
            "refused",
            "journal %r: event %s of %s was refused for good, and is not stored: %s",
            self._stream,
            event.id,
            event.app_name,
            reason,
        )
        self._receipts.refused(item.number, Refusal(event, reason))

    def _hold(self, exc: StreamError) -> None:
        """Pause; then send the refused event and all events after it again, in order."""
        if self._is_paused:
            return
        self._is_paused = True
        self._is_full = exc.is_full
        if self.error != str(exc):
            logger.warning("journal %r stores nothing now: %s; trying again", self._stream, exc)
        self.error = str(exc)
        self._has_room.set()  # calls that wait for room: waiting cannot help now
        asyncio.get_running_loop().call_later(RETRY_DELAY, self._release, self._api)

    def _release(self, api: StreamApi | None) -> None:
        if self._is_paused and api is not None and api is self._api:
            self._is_paused = False
            self.send_again()
            self._send()
