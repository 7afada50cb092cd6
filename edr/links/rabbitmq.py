"""``RabbitLink``: a bus joined to a Kazoo cluster, on Kazoo's own wire. Live, at most once.

Events of this bus are published to Kazoo's exchange in the form of its own applications. Their
events are received if this bus has subscriptions for them. ``edr.wire.kazoo`` has the bytes.

**Two connections**, one to publish and one to consume. A broker that is short of memory reads
nothing more from a connection that publishes. On one common connection, acks and bindings would
wait for the events, and receiving would stop too.

See ``rabbitmq_consumer`` and ``rabbitmq_publisher``.

**No loops.** A broker returns an event to a queue whose bindings match it, and the bus's
``DedupWindow`` drops it. Kazoo's wire has no place for hops, so an event that returns after the
window has forgotten it would go round: do not join the same two buses by a RabbitMQ and another
broker, both ways.

Cost: an emit pays for one more queue. Sending takes about 70 µs of CPU per event, of which 60 are
the client library's; receiving takes as much, of which 45 are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

try:
    import aiormq  # noqa: F401 - checked here, before the modules that need it
except ModuleNotFoundError as _missing:
    raise ImportError(
        "links to RabbitMQ need aiormq: install edr with its extra 'rabbitmq'"
    ) from _missing

from edr._util.tasks import first_of
from edr.bus import Bus, Overflow
from edr.delivery import FaultLog, Outbox
from edr.links.inbound import Inbound
from edr.links.link import Link
from edr.links.log import logger
from edr.links.rabbitmq_client import address_of, as_link_error
from edr.links.rabbitmq_consumer import RabbitConsumer
from edr.links.rabbitmq_keys import keys_of
from edr.links.rabbitmq_publisher import RabbitPublisher
from edr.records import Binding, BindingIndex, TrieKey
from edr.wire import kazoo

if TYPE_CHECKING:
    from edr.journal import Journal


def RabbitLink(  # noqa: N802 - makes a Link, and reads like a class at the call
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
) -> Link:
    """Return a link of a bus to a RabbitMQ, on the exchange and in the form of a Kazoo cluster.

    The link delivers at most once, with an exception: when the broker refuses an event, the events
    that were sent and not confirmed are sent again, and Kazoo's consumers may receive them twice.
    With a journal, this also holds when the connection was lost. The events of one emitter arrive
    in their order while the link is connected, except for rejected ones that are sent again. An
    event counts as sent when the broker has confirmed it. A durable queue delivers messages again
    that were not acknowledged before a crash.

    Args:
        bus: the bus. When it ends, it drains first and then ends the link.
        url: ``amqp://user:password@host:port/vhost``, or ``amqps://``.
        name: names the link in logs and statistics; by default the broker's address.
        send: the published events that match are sent; none if it is empty.
        receive: bindings, none to receive nothing; or ``"wanted"`` for the events that the bus has
            subscriptions for.
        queue: the name of a queue, which other consumers may share, so that each event is
            delivered to one of them. By default a queue of the link's own that the broker deletes
            at the end of its connection.
        durable: makes a quorum queue, which keeps events while no consumer is connected. It needs a
            name, and bindings to receive. Events that are published after a restart of the broker,
            and before this link is connected again, are lost: the exchange is not durable and
            loses its bindings.
        ack: when to acknowledge a message: ``"received"``, within 0.1 s after the bus put its event
            into the queues of its subscriptions, or ``"stored"``, after the bus's journal has
            stored the event, whatever the journal's bindings. A crash loses the queued events in
            the first case, and no event in the second. By default ``"stored"`` for a durable queue
            if the bus has a journal, else ``"received"``.
        prefetch: most messages that the broker sends before it waits for an ack.
        capacity: most events that wait to be sent.
        overflow: drops an event when the queue is full: ``drop_oldest`` or ``drop_newest``.
        timeout: seconds to connect, for an answer of the broker, and to drain.
        max_keys: most keys that the queue is bound to; beyond, an account becomes any account.
        exchange: a topic exchange that is not durable; by default Kazoo's.
        journal: keeps the events to send, in place of a queue in memory: the broker receives them
            later, across restarts of both. A link that also receives sends the events of its own
            node only, so give the bus a node. The backlog belongs to ``name``, or to the exchange.

    Raises:
        ValueError: an argument is not valid.
    """
    for name_, value in (("prefetch", prefetch), ("max_keys", max_keys)):
        if value < 1:
            raise ValueError(f"{name_} must be at least 1, got {value}")
    if durable and (queue is None or isinstance(receive, str) or not receive):
        raise ValueError(
            'durable=True needs queue="a name" and receive=[bindings]: the subscriptions of the '
            "bus end with the program, and the queue must still receive events then"
        )
    if ack is None:
        ack = "stored" if durable and bus.journal is not None else "received"
    if ack not in {"received", "stored"}:
        raise ValueError(f'ack must be "received" or "stored", got {ack!r}')
    if ack == "stored" and bus.journal is None:
        raise ValueError('ack="stored" needs a bus with a journal: Bus(journal=…)')
    link_name = name or address_of(url)
    log = FaultLog(f"link {link_name!r}", logger)
    inbound = Inbound(bus, log, stores=ack == "stored")
    consumer = publisher = None
    if receive:
        consumer = RabbitConsumer(
            url,
            inbound,
            name=f"edr {bus.node} in",
            exchange=exchange,
            queue=queue,
            durable=durable,
            prefetch=prefetch,
            timeout=timeout,
            only=None if isinstance(receive, str) else _index_of(receive),
            waits_for_journal=ack == "stored",
        )
    if send:
        publisher = RabbitPublisher(
            url, inbound, log, name=f"edr {bus.node} out", exchange=exchange, timeout=timeout
        )
    return Link(
        bus,
        RabbitTransport(consumer, publisher, max_keys=max_keys),
        inbound,
        log,
        name=link_name,
        backlog=name or f"rabbitmq:{exchange}",
        receive=receive,
        send=send,
        capacity=capacity,
        overflow=overflow,
        timeout=timeout,
        journal=journal,
    )


def _index_of(bindings: Sequence[Binding]) -> BindingIndex[str]:
    index: BindingIndex[str] = BindingIndex()
    index.add("received", *bindings)
    return index


class RabbitTransport:
    """The connections of a link to a RabbitMQ.

    Args:
        consumer: receives; ``None`` for a link that only sends.
        publisher: sends; ``None`` for a link that only receives.
        max_keys: as in ``RabbitLink``.
    """

    def __init__(
        self, consumer: RabbitConsumer | None, publisher: RabbitPublisher | None, *, max_keys: int
    ) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._max_keys = max_keys

    @property
    def is_blocked(self) -> bool:
        """Whether the broker announced that it accepts nothing at the moment."""
        return self._publisher is not None and self._publisher.is_blocked

    @property
    def patterns(self) -> int:
        """Number of keys that the queue is bound to."""
        return 0 if self._consumer is None else self._consumer.keys

    async def connect(self) -> None:
        """Make the connections, the exchange and the queue."""
        try:
            if self._consumer is not None:
                await self._consumer.connect()
            if self._publisher is not None:
                await self._publisher.connect()
        except Exception as exc:
            raise as_link_error(exc, connecting=True) from exc

    async def send(self, outbox: Outbox, *, outage: float) -> None:  # noqa: ARG002
        """Publish the events of ``outbox`` until the connection is lost."""
        if self._publisher is None:
            await asyncio.Event().wait()
            return
        try:
            await self._publisher.send(outbox)
        except Exception as exc:
            raise as_link_error(exc, connecting=False) from exc

    async def lost(self) -> None:
        """Wait until the consuming connection is lost, and raise the reason."""
        if self._consumer is None:
            await asyncio.Event().wait()
            return
        try:
            await first_of(self._consumer.lost(), self._consumer.keep_acknowledging())
        except Exception as exc:
            raise as_link_error(exc, connecting=False) from exc

    def patterns_for(self, keys: Iterable[TrieKey]) -> frozenset[str]:
        """Return at most ``max_keys`` routing keys that cover ``keys`` of the trie."""
        return frozenset(keys_of(list(keys), self._max_keys))

    async def set_interest(self, patterns: frozenset[str]) -> float | None:
        """Bind the queue to ``patterns``."""
        if self._consumer is None:
            return None
        is_connecting = not self._consumer.is_bound
        try:
            return await self._consumer.bind(patterns)
        except Exception as exc:
            raise as_link_error(exc, connecting=is_connecting) from exc

    async def close(self) -> None:
        """End the connections, after the acks are written."""
        closings = [each.close() for each in (self._consumer, self._publisher) if each is not None]
        await asyncio.gather(*closings, return_exceptions=True)
