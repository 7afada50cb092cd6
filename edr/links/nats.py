"""``NatsLink``: a bus joined to a NATS server. Live, at most once.

**Interest.** The link subscribes at the server to the events that this bus has subscriptions for.
It watches the keys of the trie, and each is a few patterns (see ``subject``). Where the patterns
match more events, the bus's own routes decide. A pattern stays subscribed for ``linger`` seconds
after its last use, because subscriptions come and go.

**Sending** is a stream of publishes, and a fence (PING) follows them at intervals. Events before an
answered fence are sent. The others are ``uncertain`` when a connection is lost: they may have
arrived, and sending them again could double them. At most ``MAX_IN_FLIGHT`` events wait for a
fence, so a server that hangs stops the link and does not fill the memory. The fence is also the
heartbeat: an idle link sends one every 5 seconds.

After an outage the link waits as long as the outage took, at most 2 seconds, before it sends the
events that accumulated. The receivers have connected again by then.

**Receiving** happens as messages are read, in one order for all patterns. The subject is computed
from the event and must equal the subject of the message: a server's permissions apply to the
subject only, so a publisher could otherwise claim to be any account.

**No loops.** An event does not return to its sender: not by the server to this connection
(``no_echo``), not by the bus to this link (``exclude``), not through a third party
(``DedupWindow``). An event that returns after the window has forgotten it ends at ``max_hops``.

Cost: an emit pays for one more queue. Sending takes about 8 µs per event, receiving 25, of which 20
are the validation of the event.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from edr._util.tasks import first_of
from edr.bus import Bus, Overflow
from edr.delivery import MAX_DELAY, FaultLog, Outbox
from edr.links.inbound import Inbound
from edr.links.link import Link
from edr.links.log import logger
from edr.links.nats_client import YIELD_EVERY, Connection, address_of, checked_options, denied_by
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
from edr.records import Binding, Event, TrieKey

if TYPE_CHECKING:
    from edr.journal import Journal

HEARTBEAT_INTERVAL = 5.0
"""Seconds without a fence after which an idle connection is checked by one."""

FENCE_INTERVAL = 0.05
"""Seconds between two fences while events flow: each costs a round trip, 50 µs at each end."""

MAX_IN_FLIGHT = 8192
"""Most events in flight, which are uncertain if the connection is lost: 160,000 a second with a
fence every 50 ms, more than a process can send."""

MAX_BYTES_IN_FLIGHT = 16 * 1024 * 1024
"""The same in bytes of payload."""

CONNECT_TIME = 0.1
"""Seconds that an attempt to connect takes, with its subscriptions."""


def NatsLink(  # noqa: N802 - makes a Link, and reads like a class at the call
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
) -> Link:
    """Return a link of a bus to a NATS server of version 2.10 or newer.

    The link delivers at most once. The events of one emitter arrive in their order while it is
    connected. It never changes a timestamp.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        url: of a server, or of several of one cluster; ``nats://``, ``tls://`` or ``wss://``.
        name: names the link in logs and statistics; by default the servers' addresses.
        send: the published events that match are sent; none if it is empty.
        receive: bindings; or ``"wanted"`` for the events that the bus has subscriptions for.
        prefix: the first token of subjects, or several with dots between. Two systems that share a
            server need two prefixes.
        capacity: most events that wait to be sent.
        overflow: drops an event when the queue is full: ``drop_oldest`` or ``drop_newest``.
        timeout: seconds to connect, for an answer of the server, and to drain.
        linger: seconds for which a pattern stays subscribed after its last use.
        max_patterns: most patterns to subscribe to; beyond, an account becomes any account.
        max_hops: most links that an event may cross.
        journal: keeps the events to send, in place of a queue in memory: the broker receives them
            later, across restarts of both. A link that also receives sends the events of its own
            node only, so give the bus a node. The backlog belongs to ``name``, or to the prefix.
        client: further arguments of ``nats.connect``, such as ``user_credentials`` or ``tls``.

    Raises:
        ValueError: an argument is not valid.
        TypeError: ``nats.connect`` has no such argument.
    """
    urls = [url] if isinstance(url, str) else list(url)
    if max_patterns < 1:
        raise ValueError(f"max_patterns must be at least 1, got {max_patterns}")
    if not 1 <= max_hops <= MAX_HOPS:
        raise ValueError(f"max_hops must be within 1 and {MAX_HOPS}, got {max_hops}")
    link_name = name or ",".join(address_of(each) for each in urls)
    log = FaultLog(f"link {link_name!r}", logger)
    inbound = Inbound(bus, log)
    transport = NatsTransport(
        urls,
        inbound,
        log,
        name=f"edr {bus.node}",
        prefix=checked_prefix(prefix),
        timeout=timeout,
        linger=linger,
        max_patterns=max_patterns,
        max_hops=max_hops,
        client=checked_options(client),
    )
    return Link(
        bus,
        transport,
        inbound,
        log,
        name=link_name,
        backlog=name or f"nats:{prefix}",
        receive=receive,
        send=send,
        capacity=capacity,
        overflow=overflow,
        timeout=timeout,
        journal=journal,
    )


class NatsTransport:
    """The connection of a link to a NATS server. The arguments are those of ``NatsLink``."""

    is_blocked: bool = False

    def __init__(
        self,
        urls: Sequence[str],
        inbound: Inbound,
        log: FaultLog,
        *,
        name: str,
        prefix: str,
        timeout: float,
        linger: float,
        max_patterns: int,
        max_hops: int,
        client: Mapping[str, Any],
    ) -> None:
        self._urls = urls
        self._inbound = inbound
        self._log = log
        self._name = name
        self._prefix = prefix
        self._timeout = timeout
        self._linger = linger
        self._max_patterns = max_patterns
        self._max_hops = max_hops
        self._client = client
        self._connection = Connection()

        self._subscribed: dict[str, int] = {}
        """Patterns of this connection, with the client's number of each."""
        self._unused_since: dict[str, float] = {}
        self._denied: set[str] = set()

        self._has_unfenced = asyncio.Event()
        self._fence_now = asyncio.Event()
        self._has_room = asyncio.Event()
        self._bytes_in_flight = 0
        self._not_permitted = 0
        """Publishes that the server denied since the last fence."""
        self._last: tuple[int, bytes] = (0, b"")
        """The last message: the number of its pattern, and its payload."""

    @property
    def patterns(self) -> int:
        """Number of patterns that the server sends messages for."""
        return len(self._subscribed) - len(self._denied)

    async def connect(self) -> None:
        """Make a new connection."""
        self._connection = connection = Connection()
        connection.on_violation = self._on_violation
        await connection.open(
            self._urls, name=self._name, timeout=self._timeout, options=self._client
        )
        self._subscribed = {}
        self._denied.clear()
        self._unused_since.clear()
        self._bytes_in_flight = self._not_permitted = 0
        self._has_room.set()
        self._has_unfenced.set()

    async def lost(self) -> None:
        """Wait until the connection is lost, and raise the reason if there is one."""
        await self._connection.lost.wait()
        if self._connection.fault is not None:
            raise self._connection.fault

    async def close(self) -> None:
        """End the connection at once."""
        await self._connection.abort()

    # Interest

    def patterns_for(self, keys: Iterable[TrieKey]) -> frozenset[str]:
        """Return at most ``max_patterns`` patterns that cover ``keys`` of the trie."""
        return plan(keys, self._max_patterns, self._prefix)

    async def set_interest(self, patterns: frozenset[str]) -> float | None:
        """Subscribe to ``patterns``, and wait until the server has processed that.

        Returns:
            The loop's time at which the next unused pattern has lingered long enough.
        """
        now = asyncio.get_running_loop().time()
        new = [pattern for pattern in patterns if pattern not in self._subscribed]
        for pattern in new:
            self._subscribed[pattern] = await self._connection.listen(pattern, self._on_message)
        for pattern in list(self._subscribed):
            if pattern in patterns:
                self._unused_since.pop(pattern, None)
            elif self._unused_since.setdefault(pattern, now) + self._linger <= now:
                del self._unused_since[pattern]
                self._denied.discard(pattern.lower())
                await self._connection.unlisten(self._subscribed.pop(pattern))
        if new:
            await self._connection.fence(self._timeout)
        since = min(self._unused_since.values(), default=None)
        return None if since is None else since + self._linger

    def _on_violation(self, words: str) -> None:
        self._log.last_error = words
        verb, subject = denied_by(words) or ("", "")
        if verb == "publish":
            self._not_permitted += 1
            self._log.fault(logging.ERROR, "publish", "is not permitted to send: %s", words)
        elif verb == "subscription":
            self._denied.add(subject)
            # A tenant never has access to the lane of deep trees, which all accounts share.
            level = logging.INFO if DEEP in subject else logging.ERROR
            self._log.fault(level, words, "is not permitted to receive: %s", words)
        else:
            self._log.fault(logging.ERROR, words, "received an error of the server: %s", words)

    # Out

    async def send(self, outbox: Outbox, *, outage: float) -> None:
        """Send the events of ``outbox`` until the connection is lost."""
        await first_of(self._send_events(outbox, outage), self._set_fences(outbox))

    async def _send_events(self, outbox: Outbox, outage: float) -> None:
        connection = self._connection
        # Receivers that lost the server at the same time are connected again after at most the
        # length of the outage. An event that is sent before does not reach them.
        if outage:
            await asyncio.sleep(min(outage + CONNECT_TIME, MAX_DELAY))
        for count in itertools.count(1):
            event = await outbox.peek()
            if event is None:
                break
            frame = self._frame_of(event, outbox)
            if frame is None:
                continue
            subject, payload = frame
            while not self._room(outbox):
                self._has_room.clear()
                self._fence_now.set()
                await self._has_room.wait()
            if connection.lost.is_set():
                return
            outbox.take()
            self._bytes_in_flight += len(payload)
            connection.publish_nowait(subject, payload)
            self._has_unfenced.set()
            if not count % YIELD_EVERY:
                await asyncio.sleep(0)
        self._has_unfenced.set()
        self._fence_now.set()
        await connection.lost.wait()

    def _frame_of(self, event: Event, outbox: Outbox) -> tuple[str, bytes] | None:
        """Return subject and payload of the event of ``peek``; drop it if it cannot be sent."""
        hops = self._inbound.window.hops(event) + 1
        if hops > self._max_hops:
            self._drop(outbox, event, "hops", f"it has crossed {hops - 1} links")
            return None
        try:
            payload, subject = event.to_json(), subject_of(event, hops, self._prefix)
        except Exception as exc:  # published without validation; the other events must be sent
            self._drop(outbox, event, "invalid", repr(exc))
            return None
        limit = self._connection.max_payload
        if len(payload) > limit:
            words = f"its {len(payload)} bytes exceed the server's max_payload of {limit}"
            self._drop(outbox, event, "too_large", words)
            return None
        return subject, payload

    def _drop(self, outbox: Outbox, event: Event, reason: str, words: str) -> None:
        outbox.drop(reason, words)
        self._log.dropped(event, reason, words)

    def _room(self, outbox: Outbox) -> bool:
        return outbox.in_flight < MAX_IN_FLIGHT and self._bytes_in_flight < MAX_BYTES_IN_FLIGHT

    async def _set_fences(self, outbox: Outbox) -> None:
        while True:
            await _set_within(HEARTBEAT_INTERVAL, self._has_unfenced)
            self._has_unfenced.clear()
            count, size = outbox.in_flight, self._bytes_in_flight
            await self._connection.fence(self._timeout)
            refused = min(self._not_permitted, count)
            self._not_permitted -= refused
            # The server does not say which events; with a journal, all of these are acknowledged.
            outbox.settle_oldest(count, refused, "not_permitted")
            self._bytes_in_flight -= size
            self._has_room.set()
            await _set_within(FENCE_INTERVAL, self._fence_now)
            self._fence_now.clear()

    # In

    def _on_message(
        self, number: int, subject: bytes, _reply: bytes, payload: bytes, _headers: bytes | None
    ) -> None:
        """Publish the event of a message, or refuse it. It never raises."""
        last_number, last_payload = self._last
        if payload == last_payload and number != last_number:
            return  # one message that matches two patterns; the server sends these in succession
        self._last = (number, payload)
        inbound = self._inbound
        inbound.received += 1
        try:
            event = Event.from_json(payload)
        except Exception as exc:  # of a stranger: InvalidEventError, or any error of a parser
            inbound.refuse("invalid", str(exc)[:500])
            return
        name = subject.decode("ascii", "replace")
        if name[: name.rfind(".")] != stem_of(event, self._prefix):
            inbound.refuse("mismatch", f"event {event.id} does not belong to subject {name}")
            return
        hops = hops_of(name)
        if not 1 <= hops <= self._max_hops:
            inbound.refuse("hops", f"event {event.id} came under {name}")
            return
        inbound.publish(event, hops)


async def _set_within(seconds: float, event: asyncio.Event) -> None:
    """Wait until ``event`` is set, but no longer than ``seconds``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
