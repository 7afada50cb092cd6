"""``Appending``: events on their way into a stream, in order, each once.

An event goes out with its id as ``Nats-Msg-Id``, at most ``WINDOW`` of them before their
acknowledgements. When the connection is lost, or the stream refuses one, what is not acknowledged
is sent again from the oldest on, in order; what the server had already it answers as a duplicate,
within two minutes. So nothing is missing, nor doubled, across reconnects and kills of the server.

Rejected: the client library's ``publish_async`` (a future for each message, none of which is sent
again: what is under way when a connection is lost is lost, and its order).

Invariants: what was accepted first is stored first, unless the stream refuses one and takes the
next; the events in ``_sent`` are numbered without a hole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

import orjson

from edr.errors import InvalidEvent
from edr.journal import JournalError, JournalFull
from edr.links.link import logger
from edr.links.nats_client import new_inbox, status_of
from edr.links.stream_api import NOT_STORED, StreamApi, StreamError
from edr.links.subject import subject_of
from edr.records import Event

WINDOW = 256
"""Events that are sent before they are acknowledged: enough for a round trip of some milliseconds,
and few to send again."""

RETRY = 0.25
"""Seconds after which a stream that refused is tried again."""

FAILED = -1
"""The position of an event that the stream will never take."""


class _Item:
    """An event that was accepted, and is not stored yet."""

    __slots__ = ("headers", "number", "payload", "position", "stored", "subject")

    def __init__(self, number: int, subject: str, headers: bytes, payload: bytes) -> None:
        self.number = number
        self.subject = subject
        self.headers = headers
        self.payload = payload
        self.position = 0
        self.stored: asyncio.Future[int] | None = None

    def future(self) -> asyncio.Future[int]:
        """Return what is done when the event is stored; several may wait for it."""
        if self.stored is None:
            self.stored = asyncio.get_running_loop().create_future()
            # Whoever waited may have been cancelled; then nobody asks for the error.
            self.stored.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self.stored

    def settle(self, fault: Exception | None = None) -> None:
        """Tell those who wait."""
        if self.stored is None or self.stored.done():
            return
        if fault is not None:
            self.stored.set_exception(fault)
        else:
            self.stored.set_result(self.position)


class Appending:
    """The events that a journal has accepted, until the stream has them."""

    def __init__(self, stream: str, prefix: str, max_pending: int) -> None:
        self.error: str | None = None
        """Why the stream takes nothing now."""
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
        self._api: StreamApi | None = None
        self._acks_to = new_inbox()
        self._sent: deque[_Item] = deque()
        self._unsent: deque[_Item] = deque()
        self._is_held = False
        self._oldest_then = 0
        self._is_closed = False
        # Those who wait for room, one behind the other.
        self._door = asyncio.Lock()
        self._has_room = asyncio.Event()
        # Who wants to know the position of the first event that is accepted after a number.
        self._watchers: list[tuple[int, asyncio.Future[int]]] = []

    @property
    def waiting(self) -> int:
        """Events that are accepted and not stored."""
        return len(self._sent) + len(self._unsent)

    # Its connection

    async def begin(self, api: StreamApi) -> None:
        """Send what waits over a new connection: first, again, what was under way."""
        await api.connection.listen(f"{self._acks_to}.*", self._acked)
        self._api = api
        self._is_held = False
        self.error = None
        self.send_again()
        self._send()

    def end(self) -> None:
        """Send nothing; the connection is gone."""
        self._api = None
        self._has_room.set()

    def close(self) -> None:
        """Give up what is not stored."""
        self._is_closed = True
        self._has_room.set()
        left = [item for item in (*self._sent, *self._unsent) if not item.position]
        self._sent.clear()
        self._unsent.clear()
        self.failed += len(left)
        if left:
            logger.error("journal %r was closed with %d events not stored", self._stream, len(left))
        kind = JournalFull if self._is_held else JournalError
        for item in left:
            item.settle(kind(f"journal {self._stream!r} was closed before it was stored"))

    # What is accepted

    async def append(self, events: tuple[Event, ...]) -> int:
        """Accept ``events``, all together, when there is room, and return when they are stored."""
        for event in events:
            if not isinstance(event, Event):
                raise InvalidEvent(f"a journal stores edr.Events, not {event!r}")
        frames = [self._frame(event) for event in events]
        async with self._door:
            while self.waiting and self.waiting + len(frames) > self._max_pending:
                self._has_room.clear()
                await self._has_room.wait()
                if self._is_closed:
                    raise JournalError(f"journal {self._stream!r} was closed")
            items = [self._accept(*frame) for frame in frames]
            self._send()
        return await asyncio.shield(items[-1].future())

    def append_nowait(self, event: Event) -> bool:
        """Accept ``event`` if there is room for it.

        One that is too large for the server has failed then, and is counted: there never will be
        room for it.
        """
        if self.waiting >= self._max_pending or self._door.locked():
            return False
        try:
            frame = self._frame(event)
        except JournalError as exc:
            logger.error("journal %r cannot store an event: %s", self._stream, exc)
            self.failed += 1
            return True
        self._accept(*frame)
        self._send()
        return True

    def submit(self, event: Event) -> asyncio.Future[int] | None:
        """Accept ``event`` if there is room for it, and return what to await until it is stored."""
        if self.waiting >= self._max_pending or self._door.locked():
            return None
        item = self._accept(*self._frame(event))
        self._send()
        return asyncio.shield(item.future())

    async def room(self) -> None:
        """Return when there is room, or waiting is no use; not without a turn of the loop."""
        await asyncio.sleep(0)
        while self.waiting >= self._max_pending and self._api is not None and not self.error:
            self._has_room.clear()
            await self._has_room.wait()

    async def flush(self) -> None:
        """Return when all that was accepted before is stored, or has failed."""
        queue = self._unsent or self._sent
        if queue:
            await asyncio.wait({queue[-1].future()})

    def after(self, number: int) -> asyncio.Future[int]:
        """Return the position, when it is known, of the first event accepted after ``number``."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._watchers = [pair for pair in self._watchers if not pair[1].done()]
        self._watchers.append((number, future))
        return future

    def _frame(self, event: Event) -> tuple[str, bytes, bytes]:
        payload = event.to_json()
        # As JSON has it: an id may be any text, and a header is a line.
        headers = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % orjson.dumps(event.id)
        most = self._api.connection.max_payload if self._api else 1024 * 1024
        if len(headers) + len(payload) > most:
            raise JournalError(
                f"event {event.id} of {event.app_name} has {len(payload)} bytes, and the server "
                f"takes {most}"
            )
        return subject_of(event, 1, self._prefix), headers, payload

    def _accept(self, subject: str, headers: bytes, payload: bytes) -> _Item:
        self.accepted += 1
        item = _Item(self.accepted, subject, headers, payload)
        self._unsent.append(item)
        return item

    # What is sent

    def _send(self) -> None:
        if self._api is None or self._is_held:
            return
        with suppress(ConnectionError):  # it will be sent over the next one
            while self._unsent and len(self._sent) < WINDOW:
                self._publish(self._api, self._unsent[0])
                self._sent.append(self._unsent.popleft())

    def send_again(self) -> None:
        """Send what is not acknowledged, from the oldest on."""
        if self._api is None:
            return
        with suppress(ConnectionError):
            for item in self._sent:
                if not item.position:
                    self._publish(self._api, item)

    def _publish(self, api: StreamApi, item: _Item) -> None:
        reply = f"{self._acks_to}.{item.number}"
        api.connection.publish_nowait(item.subject, item.payload, reply, item.headers)

    def send_late(self) -> None:
        """Send again what was not acknowledged since the last call: a server may have forgotten."""
        if self._oldest_then and self.oldest == self._oldest_then:
            self.send_again()
        self._oldest_then = self.oldest

    @property
    def oldest(self) -> int:
        """The number of the oldest event that was sent and is not acknowledged; 0 if none is."""
        return self._sent[0].number if self._sent else 0

    def _acked(
        self, _number: int, subject: bytes, _reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        number = int(subject[subject.rfind(b".") + 1 :])
        index = number - self.oldest
        if not self._sent or not 0 <= index < len(self._sent) or self._sent[index].position:
            return  # the second answer for one that was sent twice
        item = self._sent[index]
        if status_of(headers):
            self._hold(StreamError({"code": 503, "description": "no stream takes this subject"}))
            return
        answer = orjson.loads(payload)
        if "error" in answer:
            self._refused(item, StreamError(answer["error"]))
        else:
            item.position = answer["seq"]
            if not self._is_held:
                self.error = None
            self.appended += 1
            self.bytes += len(item.payload)
            self.newest = max(self.newest, item.position)
            for accepted, future in self._watchers:
                if number > accepted and not future.done():
                    future.set_result(item.position)
        while self._sent and self._sent[0].position:
            stored = self._sent.popleft()
            if stored.position != FAILED:
                stored.settle()
        self._has_room.set()
        if len(self._sent) <= WINDOW // 2:  # not one by one
            self._send()

    def _refused(self, item: _Item, exc: StreamError) -> None:
        if exc.may_pass:
            self._hold(exc)
            return
        item.position = FAILED
        self.failed += 1
        logger.error("journal %r cannot store an event: %s", self._stream, exc)
        item.settle(JournalError(str(exc)))

    def _hold(self, exc: StreamError) -> None:
        """Send nothing for a while; then what was refused, and all behind it, in order."""
        if self._is_held:
            return
        self._is_held = True
        if self.error != str(exc):
            level = logger.info if exc.code == NOT_STORED else logger.warning
            level("journal %r: %s; trying again", self._stream, exc)
        self.error = str(exc)
        self._has_room.set()  # whoever waits for room: it is of no use now
        asyncio.get_running_loop().call_later(RETRY, self._release, self._api)

    def _release(self, api: StreamApi | None) -> None:
        if self._is_held and api is not None and api is self._api:
            self._is_held = False
            self.send_again()
            self._send()
