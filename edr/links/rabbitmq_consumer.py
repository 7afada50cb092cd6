"""``RabbitConsumer``: receives the events of a Kazoo cluster from a queue of a RabbitMQ.

**Interest.** The queue is bound to the keys that cover the bus's subscriptions. Kazoo's exchange is
not durable, and the broker does not announce that it was deleted. Its bindings are gone with it. So
the exchange is declared and the keys are bound at every connect and again every 5 seconds, which
changes nothing where they exist. Where a key matches more events, the bus's own routes decide; with
``receive=`` bindings, these do.

**Acks** are sent for 64 messages, or for those of 100 ms; with ``ack="stored"`` only for messages
whose events the journal has stored. A message that is not a Kazoo event is rejected and counted.
The broker drops it or moves it to the queue's dead letter exchange.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from edr.journal.errors import JournalError
from edr.links.errors import LinkError
from edr.links.inbound import Inbound
from edr.links.rabbitmq_acks import ACK_WITHIN, Acks
from edr.links.rabbitmq_client import BrokerConnection, DeliveredMessage
from edr.links.rabbitmq_keys import BoundQueue
from edr.records import BindingIndex
from edr.wire import kazoo

HEARTBEAT_INTERVAL = 5.0
"""Seconds after which the exchange is declared and the keys are bound again."""


class RabbitConsumer:
    """A queue, its bindings and its acks, on a connection of its own.

    Args:
        url: of the broker.
        inbound: publishes the events.
        name: names the connection in the broker's management.
        exchange, queue, durable, prefetch, timeout: as in ``RabbitLink``.
        only: refuses the events that do not match; ``None`` to publish all.
        waits_for_journal: acknowledges a message after the journal has stored its event.
    """

    def __init__(
        self,
        url: str,
        inbound: Inbound,
        *,
        name: str,
        exchange: str,
        queue: str | None,
        durable: bool,
        prefetch: int,
        timeout: float,
        only: BindingIndex[str] | None,
        waits_for_journal: bool,
    ) -> None:
        self._url = url
        self._inbound = inbound
        self._name = name
        self._exchange = exchange
        self._queue = queue
        self._durable = durable
        self._prefetch = prefetch
        self._timeout = timeout
        self._only = only
        self._waits_for_journal = waits_for_journal
        self._connection: BrokerConnection | None = None
        self._bound: BoundQueue | None = None
        self._acks: Acks | None = None
        self._bind_all_at = 0.0
        self._fault: asyncio.Future[None] | None = None
        """Fails when the queue cannot be consumed any more."""
        self.is_bound: bool = False
        """Whether this connection has bound the queue."""

    @property
    def keys(self) -> int:
        """Number of keys that the queue is bound to."""
        return 0 if self._bound is None else len(self._bound)

    async def connect(self) -> None:
        """Make the connection, the exchange and the queue."""
        self._fault = asyncio.get_running_loop().create_future()
        self._connection = BrokerConnection(self._url, self._name)
        channel = await self._connection.open(confirms=False)
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
        await channel.exchange_declare(self._exchange, exchange_type="topic")
        declared = await channel.queue_declare(
            self._queue or "",
            durable=self._durable,
            exclusive=self._queue is None,
            auto_delete=not self._durable,
            arguments={"x-queue-type": "quorum"} if self._durable else None,
        )
        self._bound = BoundQueue(channel, cast("str", declared.queue), self._exchange)
        self._acks = Acks(channel)

    async def bind(self, keys: frozenset[str]) -> float:
        """Bind the queue to ``keys``, and consume it from the first time on.

        Returns:
            The loop's time at which to call it again.
        """
        assert self._connection is not None
        assert self._bound is not None
        loop = asyncio.get_running_loop()
        channel, queue = self._connection.channel, self._bound
        # Not the library's own time-outs: under Python 3.11 they lose a cancellation that arrives
        # together with the answer.
        async with asyncio.timeout(self._timeout):
            is_due = self.is_bound and loop.time() >= self._bind_all_at
            if is_due:
                await channel.exchange_declare(self._exchange, exchange_type="topic")
            await queue.bind(keys, again=is_due)
            if is_due or not self.is_bound:
                self._bind_all_at = loop.time() + HEARTBEAT_INTERVAL
            if not self.is_bound:
                await channel.basic_qos(prefetch_count=self._prefetch)
                await channel.basic_consume(queue.name, self._on_message)
                self.is_bound = True
        return min(queue.due or self._bind_all_at, self._bind_all_at)

    async def lost(self) -> None:
        """Wait until the queue cannot be consumed any more, and raise the reason."""
        assert self._connection is not None
        assert self._fault is not None
        lost = asyncio.ensure_future(self._connection.lost())
        try:
            await asyncio.wait({lost, self._fault}, return_when=asyncio.FIRST_COMPLETED)
            for each in (lost, self._fault):
                if each.done():
                    each.result()
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    async def keep_acknowledging(self) -> None:
        """Send the acks of received messages, until cancelled."""
        assert self._acks is not None
        await self._acks.keep_telling()

    async def close(self) -> None:
        """Send the remaining acks, so that a queue that stays does not repeat them, and close."""
        connection, self._connection = self._connection, None
        acks, self._acks = self._acks, None
        self._bound = None
        self.is_bound = False
        if self._fault is not None:
            self._fault.cancel()
        if connection is None:
            return
        with suppress(Exception):  # the connection is discarded, whatever is wrong with it
            async with asyncio.timeout(ACK_WITHIN):
                await self._inbound.stored()
        with suppress(Exception):
            async with asyncio.timeout(ACK_WITHIN):
                if acks is not None:
                    await acks.tell_all()
        await connection.close()

    def _on_cancelled(self, _frame: object) -> None:
        self._fail(LinkError("the queue was deleted"))

    def _fail(self, exc: BaseException) -> None:
        if self._fault is not None and not self._fault.done():
            self._fault.set_exception(exc)
            self._fault.exception()  # read once, so that asyncio logs nothing if ``lost`` has ended

    async def _on_message(self, message: DeliveredMessage) -> None:
        """Publish the event of a message, or refuse it; then acknowledge the message.

        The library runs a task for each message, so one that waits for the journal delays no other.
        """
        acks = self._acks
        if acks is None:  # the connection ends, and the broker keeps the message
            return
        inbound = self._inbound
        inbound.received += 1
        tag = cast("int", message.delivery_tag)
        acks.came(tag)
        try:
            event = kazoo.decode(message.body)
        except Exception as exc:  # of a stranger: InvalidEventError, or any error of a parser
            inbound.refuse("invalid", str(exc)[:500])
            acks.reject(tag)
            return
        if self._only is not None and not self._only.match(event):
            inbound.refused["unwanted"] += 1
            acks.took(tag)
            return
        try:
            if self._waits_for_journal:
                fault = await inbound.publish_durably(event)
            else:
                fault = inbound.publish(event)
        except JournalError as exc:
            self._fail(LinkError(f"the journal does not store received events: {exc}"))
            return
        if fault is None:
            acks.took(tag)
        elif fault != "closed":  # a bus that drains leaves the message to the next consumer
            acks.reject(tag)
