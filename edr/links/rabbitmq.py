"""``RabbitLink``: a bus beside a Kazoo cluster, on Kazoo's own wire. Live, at most once.

What is emitted here is published to Kazoo's exchange as its own applications do it, and what they
publish is received, as far as somebody on this bus wants it. ``edr.wire.kazoo`` has the bytes.

**Two connections**, one to publish and one to consume. A broker that is short of memory reads
nothing more from a connection that publishes; on the same one, acks and bindings would stand behind
the events, and what is received would stop too.

**Interest.** The queue is bound to the keys that cover what somebody here has subscribed to.
Kazoo's exchange is not durable, and nobody is told when it is deleted: its bindings are gone with
it. So it is declared, and the keys are bound, at every connect and again each 5 seconds, which
changes nothing where they are there. What a key covers too widely, the bus's own routes
decide; with ``receive=`` bindings, these do.

**Sending** waits for the broker's confirms, of which at most 256 are open. Without one for
``timeout`` seconds the connection is lost, unless the broker said that it is blocked: that is a
state, and the link waits. Confirmed means that the event is in every queue that wants it; there may
be none. An event that the broker refuses stops no other: see ``rabbitmq_confirms``.

**Receiving** acks 64 messages at a time, or those of 100 ms; with ``ack="stored"`` only those whose
events the journal has. A message that is not an event of Kazoo's is rejected, which drops it or
gives it to the queue's dead letter exchange, and counted.

**No loops.** A broker returns what it was sent to a queue that wants it: the bus's
``DedupWindow`` finds it. Kazoo's wire has no place for hops, so through it an event that outlives
the window would
go round: do not join the same two buses by a RabbitMQ and another broker, both ways.

Cost: an emit pays for one more queue. Sending takes some 70 µs of CPU an event, of which 60 are
the client library's, receiving as much, of which 45 are. (``benchmarks/questions/rabbitmq.py``)
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Literal, cast

try:
    import aiormq.exceptions as amqp
except ModuleNotFoundError as _missing:
    raise ImportError(
        "links to RabbitMQ need aiormq: install edr with its extra 'rabbitmq'"
    ) from _missing

from edr.bus import Bus, InterestWatch, Overflow
from edr.delivery import ConnectionState
from edr.errors import EdrError, InvalidEventError
from edr.journal.errors import JournalError
from edr.links.errors import LinkError
from edr.links.link import FIRST_PAUSE, Link
from edr.links.rabbitmq_acks import ACK_WITHIN, Acks
from edr.links.rabbitmq_client import (
    BrokerConnection,
    Channel,
    DeliveredMessage,
    KazooProperties,
    address_of,
    as_link_error,
)
from edr.links.rabbitmq_confirms import Confirms, Outgoing
from edr.links.rabbitmq_keys import BoundQueue, keys_of
from edr.links.rabbitmq_refusals import DeniedKeys, Refusal, refusal_of
from edr.links.storing import Storing
from edr.records import Binding, BindingIndex, Event, TrieKey, trie_keys
from edr.wire import kazoo

if TYPE_CHECKING:
    from edr.journal import Journal

PULSE = 5.0
"""Seconds between two times that exchange and bindings are made sure of."""

ASK_EACH = 0.01
"""Seconds between two times that what is wanted is put into keys, at least, and at least ten times
what that took: however many subscriptions come and go, it is a tenth of the loop's time."""

LOOK_EACH = 0.25
"""Seconds between two looks at whether what is in flight gets anywhere."""


class RabbitLink(Link):
    """A bus joined to a RabbitMQ, on the exchange and in the form of a Kazoo cluster.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        url: ``amqp://user:password@host:port/vhost``, or ``amqps://``.
        name: stands in logs and statistics; by default the broker's address.
        send: what is sent of what is published here; nothing if it is empty.
        receive: bindings to ask for, nothing if there is none; or what somebody here wants, as
            that changes.
        queue: a queue by name, which others may share, so that each event goes to one of them;
            by default one of the link's own that goes with its connection.
        durable: a quorum queue, which keeps events while nobody is there to take them. It needs a
            name, and bindings to receive. A restart of the broker costs what is published before
            this link is connected again, as the exchange, not durable, loses its bindings.
        ack: when the broker is told that it can forget a message: ``"received"``, within 0.1 s
            after the bus put its event into the queues of its subscriptions, or ``"stored"``, after
            the bus's journal has stored the event, whatever the journal's bindings. A crash loses
            the queued events in the first case, and no event in the second. By default
            ``"stored"`` for a durable queue if the bus has a journal, else ``"received"``.
        prefetch: messages that the broker sends before it waits for an ack.
        capacity: events that wait to be sent, at most.
        overflow: what becomes of an event that finds so many: ``drop_oldest`` or ``drop_newest``.
        timeout: seconds to connect, to be answered, and to drain.
        max_keys: keys that the queue is bound to, at most; beyond, accounts become any account.
        exchange: another exchange than Kazoo's; it is a topic exchange that is not durable.
        journal: keeps the events to be sent, in place of the outbox: the broker gets them in the
            end, across restarts of both. A link that also receives sends the events of its own node
            only, so name the bus's node. The backlog belongs to ``name``, or to the exchange.

    Promises, in addition to those of ``Link``: at most once, except for events that were sent and
    not confirmed when the broker refused another one, and with a journal also when the connection
    was lost; Kazoo's consumers may see these twice. The events of one emitter arrive in their order
    while connected, except for rejected ones that are sent again. Sent is confirmed. From a durable
    queue, messages that were not acknowledged before a crash come again.
    """

    def __init__(
        self,
        bus: Bus,
        url: str,
        *,
        name: str | None = None,
        send: Sequence[Binding] = (Binding(),),
        receive: Literal["wanted"] | Sequence[Binding] = "wanted",
        queue: str | None = None,
        durable: bool = False,
        ack: Literal["received", "stored"] | None = None,
        prefetch: int = 256,
        capacity: int = 10_000,
        overflow: Overflow | str = Overflow.DROP_OLDEST,
        timeout: float = 10.0,
        max_keys: int = 1024,
        exchange: str = kazoo.EXCHANGE,
        journal: Journal | None = None,
    ) -> None:
        for name_, value in (("prefetch", prefetch), ("max_keys", max_keys)):
            if value < 1:
                raise ValueError(f"{name_} must be at least 1, not {value}")
        if isinstance(receive, str) and receive != "wanted":
            raise ValueError(f'receive is "wanted" or a sequence of bindings, not {receive!r}')
        if durable and (queue is None or isinstance(receive, str) or not receive):
            raise ValueError(
                "a durable queue needs a name, and bindings to receive: what somebody here wants "
                "is nothing while nobody is here"
            )
        if ack is None:
            ack = "stored" if durable and bus.journal is not None else "received"
        if ack not in {"received", "stored"}:
            raise ValueError(f'ack must be "received" or "stored", got {ack!r}')
        if ack == "stored" and bus.journal is None:
            raise ValueError('ack="stored" needs a bus with a journal: Bus(journal=…)')
        address = address_of(url)
        super().__init__(
            bus,
            name,
            address=address,
            backlog=f"rabbitmq:{exchange}",
            receives=bool(receive),
            send=send,
            capacity=capacity,
            overflow=overflow,
            timeout=timeout,
            journal=journal,
        )
        self._url = url
        self._receive = receive
        self._only: BindingIndex[str] | None = None
        if receive and not isinstance(receive, str):
            self._only = BindingIndex()
            self._only.add("wanted", *receive)
        self._queue = queue
        self._durable = durable
        self._prefetch = prefetch
        self._max_keys = max_keys
        self._exchange = exchange

        self._publishing: BrokerConnection | None = None
        self._consuming: BrokerConnection | None = None
        self._fault: asyncio.Future[None] | None = None

        self._watch: InterestWatch | None = None
        self._interest_changed = asyncio.Event()
        self._interest_settled = asyncio.Event()
        self._bound: BoundQueue | None = None

        self._confirms: Confirms | None = None
        self._suspects: deque[Outgoing] = deque()
        """Events to be sent one at a time: the broker closed the channel because of one of them."""
        self._denied_keys = DeniedKeys()
        self._most_bytes = sys.maxsize
        """Bytes of the largest message that the broker takes, once it has said so."""
        self._acks: Acks | None = None
        self._storing: Storing | None = None
        if ack == "stored":
            self._storing = Storing(bus, self._seen, self._is_delayed)

    @property
    def _patterns(self) -> int:
        return 0 if self._bound is None else len(self._bound)

    # Life

    def _begin(self) -> None:
        if self._receive == "wanted":
            self._watch = self._bus.watch_interest(self._interest_is, exclude=self._outbox)

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._interest_settled.set()

    async def _connect(self) -> None:
        self._fault = asyncio.get_running_loop().create_future()
        self._suspects.clear()
        self._denied_keys.clear()
        self._most_bytes = sys.maxsize
        try:
            if self._receive:
                self._consuming = BrokerConnection(self._url, f"edr {self._bus.node} in")
                await self._consume(await self._consuming.open(confirms=False))
            if self._send:
                await self._open_publishing()
                self._confirms = Confirms(self._publish, self._took, self._gave_up)
        except Exception as exc:
            raise as_link_error(exc, connecting=True) from exc

    async def _consume(self, channel: Channel) -> None:
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        await self._declare(channel)
        declared = await channel.queue_declare(
            self._queue or "",
            durable=self._durable,
            exclusive=self._queue is None,
            auto_delete=not self._durable,
            arguments={"x-queue-type": "quorum"} if self._durable else None,
        )
        queue = cast("str", declared.queue)
        self._bound = BoundQueue(channel, queue, self._exchange)
        await self._ask(self._bound)
        self._acks = Acks(channel)
        await channel.basic_qos(prefetch_count=self._prefetch)
        await channel.basic_consume(queue, self._came)

    async def _declare(self, channel: Channel) -> None:
        await channel.exchange_declare(self._exchange, exchange_type="topic")

    async def _serve(self) -> None:
        works = [self._faulty()]
        if self._consuming is not None and self._bound is not None and self._acks is not None:
            works += [self._consuming.lost(), self._acks.keep_telling()]
            works += [self._keep_asking(self._consuming.channel, self._bound)]
        if self._confirms is not None:
            works += [self._keep_publishing(self._confirms)]
        else:
            works += [self._send_nothing()]
        try:
            await self._first_of(*works)
        except Exception as exc:
            raise as_link_error(exc, connecting=False) from exc

    async def _faulty(self) -> None:
        assert self._fault is not None
        await self._fault

    def _fail(self, exc: BaseException) -> None:
        if self._fault is not None and not self._fault.done():
            self._fault.set_exception(exc)
            self._fault.exception()  # it is seen, even if something else ends this first

    async def _disconnect(self) -> None:
        consuming, self._consuming = self._consuming, None
        publishing, self._publishing = self._publishing, None
        acks, self._acks = self._acks, None
        confirms, self._confirms = self._confirms, None
        self._bound = None
        self._interest_settled.clear()
        if self._fault is not None:
            self._fault.cancel()
        closings = []
        if consuming is not None:
            closings.append(self._stop_consuming(consuming, acks))
        if publishing is not None:
            closings.append(publishing.close())
        if confirms is not None:
            closings.append(confirms.let_go())
        await asyncio.gather(*closings, return_exceptions=True)

    async def _stop_consuming(self, connection: BrokerConnection, acks: Acks | None) -> None:
        """Tell what was taken, so that a queue that outlives the link does not send it again."""
        with suppress(Exception):  # it is let go of, whatever is wrong with it
            async with asyncio.timeout(ACK_WITHIN):
                if self._storing is not None:
                    await self._storing.settled()
        with suppress(Exception):
            async with asyncio.timeout(ACK_WITHIN):
                if acks is not None:
                    await acks.tell_all()
        await connection.close()

    async def aclose(self) -> None:
        """Stop now: what waits to be sent is dropped, and counted. Idempotent."""
        await super().aclose()
        if self._storing is not None:
            await self._storing.aclose()

    # Interest

    async def ready(self) -> None:
        """Wait until there is a connection, and the queue is bound to all that is wanted now.

        Raises:
            LinkError: the link is closed.
        """
        await super().ready()
        while self._receive and not self._interest_settled.is_set():
            await self._interest_settled.wait()
            await super().ready()

    def _interest_is(self, _spot: TrieKey, _wanted: bool) -> None:  # noqa: FBT001 - as it is called
        self._interest_settled.clear()
        self._interest_changed.set()

    async def _keep_asking(self, channel: Channel, queue: BoundQueue) -> None:
        loop = asyncio.get_running_loop()
        sure_until = loop.time() + PULSE
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(queue.due or sure_until, sure_until)):
                    await self._interest_changed.wait()
            again = loop.time() >= sure_until
            # Not by the library's own time-outs: under Python 3.11 those lose a cancellation that
            # meets the answer.
            async with asyncio.timeout(self._timeout):
                if again:
                    await self._declare(channel)
                    sure_until = loop.time() + PULSE
                took = await self._ask(queue, again=again)
            await asyncio.sleep(max(ASK_EACH, 10 * took))

    async def _ask(self, queue: BoundQueue, *, again: bool = False) -> float:
        """Bind the queue to what is wanted; return for how long that held up the loop."""
        self._interest_changed.clear()
        began = perf_counter()
        wanted = self._wanted_keys()
        took = perf_counter() - began
        await queue.bind(wanted, again=again)
        if not self._interest_changed.is_set():
            self._interest_settled.set()
        return took

    def _wanted_keys(self) -> set[str]:
        if self._watch is not None:
            return keys_of(self._watch.keys, self._max_keys)
        bindings = cast("Sequence[Binding]", self._receive)
        return keys_of([spot for each in bindings for spot in trie_keys(each)], self._max_keys)

    def _cancelled(self, _frame: object) -> None:
        self._fail(LinkError("the queue was deleted"))

    # Out

    async def _send_nothing(self) -> None:
        with suppress(StopAsyncIteration):
            await self._peek()
        self._sent_all()
        await self._faulty()

    async def _keep_publishing(self, confirms: Confirms) -> None:
        """Publish, also after the broker has closed the channel because it refuses one event."""
        while True:
            connection = self._publishing
            assert connection is not None
            try:
                await self._first_of(
                    connection.lost(),
                    self._look_after(connection, confirms),
                    self._send_events(confirms),
                )
            except amqp.ChannelClosed as exc:
                refusal = refusal_of(exc)
                if refusal is None or (refusal.is_of_all and self._spool is not None):
                    raise
                self._judge(confirms, refusal)
            await asyncio.sleep(FIRST_PAUSE)
            async with asyncio.timeout(self._timeout):
                await self._open_publishing()

    async def _open_publishing(self) -> None:
        """Make the connection on which events are published, in place of the one there was."""
        if self._publishing is not None:
            await self._publishing.close()
        self._publishing = BrokerConnection(self._url, f"edr {self._bus.node} out")
        await self._declare(await self._publishing.open(confirms=True))

    def _judge(self, confirms: Confirms, refusal: Refusal) -> None:
        """Give up the event that the broker refuses, if that is known; send the others again."""
        wire, waiting = confirms.cut()
        self._most_bytes = min(self._most_bytes, refusal.most_bytes)
        if refusal.reason is not None and (refusal.is_of_all or len(wire) == 1):
            for item in wire:
                if refusal.is_of_key:
                    self._denied_keys.add(item.key, refusal.words)
                self._gave_up(item, refusal.reason, refusal.words)
            wire = []
        else:
            message = "link %r: the broker closed the channel (%s); %d events are sent again"
            self._say(logging.WARNING, "channel", message, self.name, refusal.words, len(wire))
        self._suspects.extendleft(reversed(wire + waiting))

    async def _send_events(self, confirms: Confirms) -> None:
        while self._suspects:
            confirms.add(self._suspects.popleft())
            await confirms.answered()
        while True:
            try:
                event = await self._peek()
            except StopAsyncIteration:
                break
            try:
                key, payload = kazoo.routing_key(event), kazoo.encode(event)
            except InvalidEventError as exc:
                self._drop("oversize_key", str(exc))
                continue
            except Exception as exc:  # published without validation: it must not stop the others
                self._drop("invalid", repr(exc))
                continue
            if len(payload) > self._most_bytes:
                words = (
                    f"its {len(payload)} bytes are more than the {self._most_bytes} of the broker"
                )
                self._drop("too_large", words)
                continue
            if denied := self._denied_keys.get(key):
                self._drop("not_permitted", denied)
                continue
            await confirms.room()
            self._seen.hops(event)
            confirms.add(Outgoing(event, key, payload, self._take()))
        await confirms.settled()
        self._sent_all()
        await self._faulty()

    async def _publish(self, item: Outgoing) -> None:
        connection = self._publishing
        assert connection is not None
        await connection.channel.basic_publish(
            item.payload,
            exchange=self._exchange,
            routing_key=item.key,
            properties=KazooProperties(kazoo.amqp_timestamp(item.event)),
            wait=False,
        )

    def _took(self, item: Outgoing) -> None:
        self._taken(item.entry)

    def _gave_up(self, item: Outgoing, reason: str, words: str) -> None:
        self._give_up(item.event, item.entry, reason, words)

    async def _look_after(self, connection: BrokerConnection, confirms: Confirms) -> None:
        """Notice that the broker is blocked, or takes nothing and does not say why."""
        while True:
            if self._state is not ConnectionState.BLOCKED:
                await confirms.busy()
            await asyncio.sleep(LOOK_EACH)
            if connection.is_blocked:
                self._set_state(ConnectionState.BLOCKED)
                confirms.be_patient()
            else:
                self._set_state(ConnectionState.UP)
                if confirms.silent_for > self._timeout:
                    raise LinkError(f"the broker confirmed nothing for {self._timeout} seconds")

    # In

    async def _came(self, message: DeliveredMessage) -> None:
        """Publish the event of a message, or refuse it; then acknowledge the message.

        The library runs a task for each message, so one that waits for the journal holds up none.
        """
        acks = self._acks
        assert acks is not None
        self._received += 1
        tag = cast("int", message.delivery_tag)
        acks.came(tag)
        try:
            event = kazoo.decode(message.body)
        except (
            Exception
        ) as exc:  # from a stranger: InvalidEventError, or what a parser may raise else
            self._refuse("invalid", str(exc)[:500])
            acks.reject(tag)
            return
        if self._only is not None and not self._only.match(event):
            self._refused["unwanted"] += 1
            acks.took(tag)
            return
        try:
            fault = await self._take_in(event)
        except JournalError as exc:
            self._fail(LinkError(f"the journal does not store what is received: {exc}"))
            return
        if fault is None:
            acks.took(tag)
        elif fault != "closed":  # a bus that drains leaves the message to the next consumer
            acks.reject(tag)

    async def _take_in(self, event: Event) -> str | None:
        if self._storing is None:
            return self._deliver(event)
        return await self._deliver_durably(event, self._storing)

    def _is_delayed(self, event: Event, exc: EdrError) -> None:
        self._last_error = str(exc)
        words = "link %r: the journal cannot store event %r for now: %s; it is tried again"
        self._say(logging.WARNING, "delayed", words, self.name, event.id, exc)
