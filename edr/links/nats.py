"""``NatsLink``: a bus joined to a NATS server. Live, at most once.

**Interest.** The link asks the server for what somebody on this bus has subscribed to, and for
nothing else: it watches the spots of the trie, and each is a few patterns (see ``subject``). What
the server then sends too widely, the bus's own routes decide. A pattern that nobody wants any more
is asked for a little longer (``linger``), since subscriptions come and go.

**Sending** is a stream of publishes behind which a fence is set, over and over: what is in front of
a fence that was answered is sent. What is not, when a connection is lost, is ``uncertain``: it may
have arrived, so to send it again could double it. At most ``MOST_ON_THE_WAY`` events are not
fenced, so a server that hangs holds up the link and not the memory. The fence is also the pulse: an
idle link sets one each 5 seconds.

After an outage it waits as long as that took, but 2 seconds at most, before it sends what has come
up: so that those who are to receive it have joined again, too.

**Receiving** is done as messages are read, in one order for all patterns. The subject is computed
anew from the event and must be the one under which it came: a server's permissions act on the
subject only, so who may publish under one could otherwise claim to be any account.

**No loops.** An event is not sent back where it came from: not by the server to this connection
(``no_echo``), not by the bus to this link (``exclude``), not through a third party
(``DedupWindow``); and an event that outlives the window ends at ``max_hops``.

Cost: an emit pays for one more queue. Sending takes some 8 µs an event, receiving 25, of which 20
are its validation.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from edr.bus import Bus, InterestWatch, Overflow
from edr.links.link import LONGEST_PAUSE, Link
from edr.links.nats_client import A_TURN, Connection, address_of, checked_options, denied_by
from edr.links.subject import (
    DEEP,
    MAX_HOPS,
    PREFIX,
    checked_prefix,
    hops_of,
    plan,
    stem_of,
    subject_of,
)
from edr.records import Binding, Event, TrieKey, trie_keys

if TYPE_CHECKING:
    from edr.journal import Journal

PULSE = 5.0
"""Seconds after which an idle connection is asked whether it lives."""

FENCE_EACH = 0.05
"""Seconds between two fences while events flow: each costs a round trip, some 50 µs of each end."""

MOST_ON_THE_WAY = 8192
"""Events that may be on their way, and uncertain if the connection is lost: 160,000 a second with
a fence each 50 ms, which is more than a process can send."""

MOST_BYTES_ON_THE_WAY = 16 * 1024 * 1024
"""The same in bytes of payload, beyond which no further event is sent."""

JOIN_WITHIN = 0.1
"""Seconds that a connection takes, with its questions, once an attempt begins."""

ASK_EACH = 0.01
"""Seconds between two times that the server is told what is wanted, at least, and at least ten
times what telling took: ten thousand subscriptions a second cost the loop a tenth of its time."""


class NatsLink(Link):
    """A bus joined to a NATS server of version 2.10 or newer.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        url: of a server, or of several of one cluster; ``nats://``, ``tls://`` or ``wss://``.
        name: stands in logs and statistics; by default the servers' addresses.
        send: what is sent of what is published here; nothing if it is empty.
        receive: bindings to ask for; or what somebody here wants, as that changes.
        prefix: the first token of subjects, or several with dots between: two systems that share a
            server take two prefixes.
        capacity: events that wait to be sent, at most.
        overflow: what becomes of an event that finds so many: ``drop_oldest`` or ``drop_newest``.
        timeout: seconds to connect, to be answered, and to drain.
        linger: seconds for which a pattern is asked for that nobody wants any more.
        max_patterns: patterns to ask a server for, at most; beyond, accounts become any account.
        max_hops: links that an event may cross.
        journal: keeps the events to be sent, in place of the outbox: the broker gets them in the
            end, across restarts of both. A link that also receives sends the events of its own node
            only, so name the bus's node. The backlog belongs to ``name``, or to the prefix.
        client: further arguments of ``nats.connect``, such as ``user_credentials`` or ``tls``.

    Promises, beside those of ``Link``: at most once; the events of one emitter in their order,
    while connected; a timestamp is never rewritten.
    """

    def __init__(
        self,
        bus: Bus,
        url: str | Sequence[str],
        *,
        name: str | None = None,
        send: Sequence[Binding] = (Binding(),),
        receive: Literal["wanted"] | Sequence[Binding] = "wanted",
        prefix: str = PREFIX,
        capacity: int = 10_000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        timeout: float = 10.0,
        linger: float = 5.0,
        max_patterns: int = 256,
        max_hops: int = 4,
        journal: Journal | None = None,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        if max_patterns < 1:
            raise ValueError(f"max_patterns must be at least 1, not {max_patterns}")
        if not 1 <= max_hops <= MAX_HOPS:
            raise ValueError(f"max_hops must be within 1 and {MAX_HOPS}, not {max_hops}")
        if isinstance(receive, str) and receive != "wanted":
            raise ValueError(f'receive is "wanted" or a sequence of bindings, not {receive!r}')
        super().__init__(
            bus,
            name,
            address=",".join(address_of(each) for each in urls),
            backlog=f"nats:{prefix}",
            receives=bool(receive),
            send=send,
            capacity=capacity,
            overflow=overflow,
            timeout=timeout,
            journal=journal,
        )
        self._urls = urls
        self._receive = receive
        self._prefix = checked_prefix(prefix)
        self._linger = linger
        self._max_patterns = max_patterns
        self._max_hops = max_hops
        self._client = checked_options(client)

        self._connection = Connection()
        self._watch: InterestWatch | None = None
        self._interest_changed = asyncio.Event()
        self._interest_settled = asyncio.Event()
        # What this connection was asked for, with the client's number of it.
        self._asked: dict[str, int] = {}
        self._unwanted_since: dict[str, float] = {}
        self._denied: set[str] = set()

        self._unfenced = asyncio.Event()
        self._hurry = asyncio.Event()
        self._has_room = asyncio.Event()
        self._bytes_on_the_way = 0
        self._not_permitted = 0
        self._outbox_has_ended = False
        self._last: tuple[int, bytes] = (0, b"")

    @property
    def _patterns(self) -> int:
        return len(self._asked) - len(self._denied)

    # Life

    def _begin(self) -> None:
        if self._receive == "wanted":
            self._watch = self._bus.watch_interest(self._interest_is, exclude=self._outbox)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._interest_settled.set()

    async def _connect(self) -> None:
        self._connection = connection = Connection()
        connection.on_violation = self._violated
        await connection.open(
            self._urls, name=f"edr {self._bus.node}", timeout=self._timeout, options=self._client
        )
        self._asked = {}
        self._denied.clear()
        self._unwanted_since.clear()
        self._bytes_on_the_way = self._not_permitted = 0
        self._has_room.set()
        self._unfenced.set()
        await self._ask()

    async def _serve(self) -> None:
        await self._first_of(
            self._send_events(),
            self._set_fences(),
            self._keep_asking(),
            self._connection.lost.wait(),
        )
        if self._connection.fault is not None:
            raise self._connection.fault

    async def _disconnect(self) -> None:
        self._interest_settled.clear()
        await self._connection.abort()

    async def ready(self) -> None:
        """Wait until there is a connection, and the server has heard all that is wanted now.

        In a cluster, that server which the link is connected to; it tells the others.

        Raises:
            LinkError: the link is closed.
        """
        await super().ready()
        while not self._interest_settled.is_set():
            await self._interest_settled.wait()
            await super().ready()

    # Interest

    def _interest_is(self, _spot: TrieKey, _wanted: bool) -> None:  # noqa: FBT001 - as it is called
        self._interest_settled.clear()
        self._interest_changed.set()

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = min(self._unwanted_since.values(), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if due is None else due + self._linger):
                    await self._interest_changed.wait()
            began = loop.time()
            await self._ask()
            await asyncio.sleep(max(ASK_EACH, 10 * (loop.time() - began)))

    async def _ask(self) -> None:
        """Tell the server what is wanted now, and wait until it has heard it."""
        self._interest_changed.clear()
        if self._watch is not None:
            wanted = plan(self._watch.keys, self._max_patterns, self._prefix)
        else:
            wanted = self._fixed()
        now = asyncio.get_running_loop().time()
        new = [pattern for pattern in wanted if pattern not in self._asked]
        for pattern in new:
            self._asked[pattern] = await self._connection.listen(pattern, self._came)
        for pattern in list(self._asked):
            if pattern in wanted:
                self._unwanted_since.pop(pattern, None)
            elif self._unwanted_since.setdefault(pattern, now) + self._linger <= now:
                del self._unwanted_since[pattern]
                self._denied.discard(pattern.lower())
                await self._connection.unlisten(self._asked.pop(pattern))
        if new:
            await self._connection.fence(self._timeout)
        if not self._interest_changed.is_set():
            self._interest_settled.set()

    def _fixed(self) -> frozenset[str]:
        spots = [spot for binding in self._receive for spot in trie_keys(binding)]  # type: ignore[arg-type]  # no text here
        return plan(spots, self._max_patterns, self._prefix)

    def _violated(self, words: str) -> None:
        self._last_error = words
        what, subject = denied_by(words) or ("", "")
        if what == "publish":
            self._not_permitted += 1
            self._say(logging.ERROR, "publish", "link %r may not send: %s", self.name, words)
        elif what == "subscription":
            self._denied.add(subject)
            # A tenant is never given the lane of deep trees, which all accounts share.
            level = logging.INFO if DEEP in subject else logging.ERROR
            self._say(level, words, "link %r may not receive: %s", self.name, words)
        else:
            self._say(logging.ERROR, words, "link %r: the server says: %s", self.name, words)

    # Out

    async def _send_events(self) -> None:
        connection = self._connection
        # The others lost the server when this link did, and try again as often: at most as long
        # after it came back as it was away. What was sent before they are joined reaches nobody.
        if self._outage:
            await asyncio.sleep(min(self._outage + JOIN_WITHIN, LONGEST_PAUSE))
        for count in itertools.count(1):
            try:
                event = await self._peek()
            except StopAsyncIteration:
                self._outbox_has_ended = True
                self._unfenced.set()
                self._hurry.set()
                await connection.lost.wait()
                return
            hops = self._seen.hops(event) + 1
            if hops > self._max_hops:
                self._drop("hops", f"it has crossed {hops - 1} links")
                continue
            try:
                payload, subject = event.to_json(), subject_of(event, hops, self._prefix)
            except Exception as exc:  # published without validation: it must not stop the others
                self._drop("invalid", repr(exc))
                continue
            if len(payload) > connection.max_payload:
                most = connection.max_payload
                words = f"its {len(payload)} bytes are more than the {most} that the server takes"
                self._drop("too_large", words)
                continue
            while not self._room():
                self._has_room.clear()
                self._hurry.set()
                await self._has_room.wait()
            if connection.lost.is_set():
                return
            self._take()
            self._bytes_on_the_way += len(payload)
            connection.publish_nowait(subject, payload)
            self._unfenced.set()
            if not count % A_TURN:
                await asyncio.sleep(0)

    def _room(self) -> bool:
        return self._in_flight < MOST_ON_THE_WAY and self._bytes_on_the_way < MOST_BYTES_ON_THE_WAY

    async def _set_fences(self) -> None:
        while True:
            await _set_within(PULSE, self._unfenced)
            self._unfenced.clear()
            count, size = self._in_flight, self._bytes_on_the_way
            await self._connection.fence(self._timeout)
            refused = min(self._not_permitted, count)
            self._not_permitted -= refused
            self._in_flight -= refused
            self._dropped["not_permitted"] += refused
            self._confirmed(count - refused)
            if self._spool is not None:
                self._spool.confirmed(refused)
            self._bytes_on_the_way -= size
            self._has_room.set()
            if self._has_nothing_left():
                self._sent_all()
            await _set_within(FENCE_EACH, self._hurry)
            self._hurry.clear()

    def _has_nothing_left(self) -> bool:
        if self._head is not None or self._in_flight:
            return False
        return self._outbox_has_ended and (self._spool is None or self._spool.is_drained)

    # In

    def _came(
        self, number: int, subject: bytes, _reply: bytes, payload: bytes, _headers: bytes | None
    ) -> None:
        """Take a message: publish the event in it, or refuse it. Never raises."""
        last_number, last_payload = self._last
        if payload == last_payload and number != last_number:
            return  # one message that two patterns match, one behind the other
        self._last = (number, payload)
        self._received += 1
        try:
            event = Event.from_json(payload)
        except (
            Exception
        ) as exc:  # from a stranger: InvalidEventError, or what a parser may raise else
            self._refuse("invalid", str(exc)[:500])
            return
        name = subject.decode("ascii", "replace")
        if name[: name.rfind(".")] != stem_of(event, self._prefix):
            self._refuse("mismatch", f"event {event.id} does not belong to subject {name}")
            return
        hops = hops_of(name)
        if not 1 <= hops <= self._max_hops:
            self._refuse("hops", f"event {event.id} came under {name}")
            return
        self._deliver(event, hops)


async def _set_within(seconds: float, event: asyncio.Event) -> None:
    """Wait until ``event`` is set, but no longer than ``seconds``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
