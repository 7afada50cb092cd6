"""``RabbitPublisher``: publishes events to the exchange of a Kazoo cluster.

It waits for the broker's confirms, of which at most 256 are open. Without a confirm for ``timeout``
seconds the connection counts as lost, unless the broker announced that it is blocked; then the
publisher waits. A confirmed event is in every queue whose bindings match it; there may be none.

An event that the broker refuses stops no other event: see ``rabbitmq_confirms``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from typing import Never

import aiormq.exceptions as amqp

from edr._util.tasks import first_of
from edr.delivery import FIRST_DELAY, FaultLog, Outbox
from edr.errors import InvalidEventError
from edr.links.errors import LinkError
from edr.links.inbound import Inbound
from edr.links.rabbitmq_client import BrokerConnection, KazooProperties
from edr.links.rabbitmq_confirms import Confirms, Outgoing
from edr.links.rabbitmq_refusals import DeniedKeys, Refusal, refusal_of
from edr.records import Event
from edr.wire import kazoo

CHECK_INTERVAL = 0.25
"""Seconds between two checks of whether the broker confirms events, and whether it is blocked."""


class RabbitPublisher:
    """Publishes events on a connection of its own.

    Args:
        url: of the broker.
        inbound: its window records the sent events, so that they are not received again.
        log: receives dropped events and faults.
        name: names the connection in the broker's management.
        exchange: the exchange to publish to.
        timeout: seconds to connect and for a confirm.
    """

    def __init__(
        self, url: str, inbound: Inbound, log: FaultLog, *, name: str, exchange: str, timeout: float
    ) -> None:
        self.is_blocked: bool = False
        """Whether the broker announced that it accepts nothing at the moment."""
        self._url = url
        self._window = inbound.window
        self._log = log
        self._name = name
        self._exchange = exchange
        self._timeout = timeout
        self._connection: BrokerConnection | None = None
        self._confirms: Confirms | None = None
        self._suspects: deque[Outgoing] = deque()
        """Events to be sent one at a time: the broker closed the channel because of one of them."""
        self._denied_keys = DeniedKeys()
        self._max_bytes = sys.maxsize
        """Bytes of the largest message that the broker accepts, once it has announced that."""

    async def connect(self) -> None:
        """Make a new connection, and forget the refusals of the last one."""
        self._suspects.clear()
        self._denied_keys.clear()
        self._max_bytes = sys.maxsize
        await self._reopen()

    async def _reopen(self) -> None:
        """Make the connection, in place of an earlier one."""
        if self._connection is not None:
            await self._connection.close()
        self._connection = BrokerConnection(self._url, self._name)
        channel = await self._connection.open(confirms=True)
        await channel.exchange_declare(self._exchange, exchange_type="topic")

    async def close(self) -> None:
        """Discard the events in flight, and close the connection."""
        connection, self._connection = self._connection, None
        confirms, self._confirms = self._confirms, None
        self._set_blocked(is_blocked=False)
        closings = [] if connection is None else [connection.close()]
        if confirms is not None:
            closings.append(confirms.let_go())
        await asyncio.gather(*closings, return_exceptions=True)

    async def send(self, outbox: Outbox) -> None:
        """Publish the events of ``outbox``, until the connection is lost.

        If the broker closes the channel because it refuses one event, it goes on with the others on
        a new connection.
        """
        sending = _Sending(outbox, self._log)
        confirms = Confirms(self._publish, sending.confirm, sending.give_up)
        self._confirms = confirms
        while True:
            connection = self._connection
            assert connection is not None
            try:
                await first_of(
                    connection.lost(),
                    self._check(connection, confirms),
                    self._send_events(sending, confirms),
                )
            except amqp.ChannelClosed as exc:
                refusal = refusal_of(exc)
                if refusal is None or (refusal.is_of_all and outbox.is_durable):
                    raise
                self._judge(sending, confirms, refusal)
            await asyncio.sleep(FIRST_DELAY)
            async with asyncio.timeout(self._timeout):
                await self._reopen()

    def _judge(self, sending: _Sending, confirms: Confirms, refusal: Refusal) -> None:
        """Give up the event that the broker refuses, if it is known; send the others again."""
        wire, waiting = confirms.cut()
        self._max_bytes = min(self._max_bytes, refusal.max_bytes)
        if refusal.reason is not None and (refusal.is_of_all or len(wire) == 1):
            for item in wire:
                if refusal.is_of_key:
                    self._denied_keys.add(item.key, refusal.words)
                sending.give_up(item, refusal.reason, refusal.words)
            wire = []
        else:
            message = "lost its channel (%s); %d events are sent again"
            self._log.fault(logging.WARNING, "channel", message, refusal.words, len(wire))
        self._suspects.extendleft(reversed(wire + waiting))

    async def _send_events(self, sending: _Sending, confirms: Confirms) -> Never:
        while self._suspects:
            confirms.add(self._suspects.popleft())
            await confirms.answered()
        while (event := await sending.outbox.peek()) is not None:
            message = self._message_of(event, sending)
            if message is None:
                continue
            await confirms.room()
            self._window.hops(event)
            confirms.add(Outgoing(event, *message, sending.outbox.take()))
        await asyncio.Event().wait()  # after the last event the link still receives
        raise AssertionError

    def _message_of(self, event: Event, sending: _Sending) -> tuple[str, bytes] | None:
        """Return key and payload of the event of ``peek``; drop it if it cannot be sent."""
        try:
            key, payload = kazoo.routing_key(event), kazoo.encode(event)
        except InvalidEventError as exc:
            sending.drop(event, "oversize_key", str(exc))
            return None
        except Exception as exc:  # published without validation; the other events must be sent
            sending.drop(event, "invalid", repr(exc))
            return None
        if len(payload) > self._max_bytes:
            words = f"its {len(payload)} bytes exceed the broker's limit of {self._max_bytes}"
            sending.drop(event, "too_large", words)
            return None
        if denied := self._denied_keys.get(key):
            sending.drop(event, "not_permitted", denied)
            return None
        return key, payload

    async def _publish(self, item: Outgoing) -> None:
        connection = self._connection
        assert connection is not None
        await connection.channel.basic_publish(
            item.payload,
            exchange=self._exchange,
            routing_key=item.key,
            properties=KazooProperties(kazoo.amqp_timestamp(item.event)),
            wait=False,
        )

    async def _check(self, connection: BrokerConnection, confirms: Confirms) -> Never:
        """Detect that the broker is blocked, or confirms nothing without being blocked."""
        while True:
            if not self.is_blocked:
                await confirms.busy()
            await asyncio.sleep(CHECK_INTERVAL)
            self._set_blocked(is_blocked=connection.is_blocked)
            if self.is_blocked:
                confirms.be_patient()
            elif confirms.silent_for > self._timeout:
                raise LinkError(f"the broker confirmed nothing for {self._timeout} seconds")

    def _set_blocked(self, *, is_blocked: bool) -> None:
        if is_blocked is not self.is_blocked:
            self.is_blocked = is_blocked
            self._log.log(logging.INFO, "is blocked" if is_blocked else "is not blocked any more")


class _Sending:
    """One outbox, with a log line for each dropped event."""

    def __init__(self, outbox: Outbox, log: FaultLog) -> None:
        self.outbox = outbox
        self._log = log

    def confirm(self, item: Outgoing) -> None:
        self.outbox.confirm(item.tag)

    def drop(self, event: Event, reason: str, details: str) -> None:
        self.outbox.drop(reason, details)
        self._log.dropped(event, reason, details)

    def give_up(self, item: Outgoing, reason: str, details: str) -> None:
        self.outbox.give_up(item.tag, reason, details)
        self._log.dropped(item.event, reason, details)
