"""``PullSubscription``: the messages of one JetStream consumer, over one connection, in order.

It requests ``batch`` messages at a time, ``PULLS_AHEAD`` requests ahead, so that the next messages
arrive before the last ones are used. (``fetch`` of the client library waits for each batch and
makes a subscription for it: twice the cost.)

A JetStream consumer numbers its messages. If a number is missing, or the JetStream consumer is gone
or has moved, the subscription is **broken**. Its owner then creates the JetStream consumer again,
after the last message that it used, and makes another subscription.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from edr.links.nats_client import NO_RESPONDERS, status_of
from edr.links.stream_api import MessageMetadata, StreamApi

PULLS_AHEAD = 2
"""Requests that stand at the server: one is being answered, the other one comes next."""

PULL_EXPIRES = 30.0
"""Seconds for which a request stands, if nothing comes."""

CONFLICT = 409
"""Status of a request that the server ends before its time."""


class Message(NamedTuple):
    """A message as it arrived."""

    subject: bytes
    reply: bytes
    payload: bytes


class PullSubscription:
    """The messages that a JetStream consumer sends, and the requests for them.

    Args:
        api: of the connection.
        batch: messages of a request.
        arrived: set when a message has arrived, or the subscription is broken.
    """

    def __init__(self, api: StreamApi, batch: int, arrived: asyncio.Event) -> None:
        self.api = api
        self.messages: deque[Message] = deque()
        """The messages that were not taken yet."""
        self.next_number: int = 1
        """The JetStream consumer's number of the first of them, or of the next one to arrive."""
        self.is_broken: bool = False
        self._batch = batch
        self._arrived = arrived
        self._consumer_name = ""
        self._inbox = api.connection.new_inbox()
        self._subscription = 0
        self._requests = 0
        # The number of each request that stands at the server, and the messages that it may still
        # bring. The server answers one after the other.
        self._standing: deque[list[int]] = deque()

    async def listen(self) -> None:
        """Subscribe to the inbox."""
        self._subscription = await self.api.connection.listen(f"{self._inbox}.*", self._on_message)

    async def unlisten(self) -> None:
        """End the subscription to the inbox."""
        await self.api.connection.unlisten(self._subscription)

    def begin(self, consumer_name: str, next_number: int = 1) -> None:
        """Set the JetStream consumer, and the number of the next message that it sends."""
        self._consumer_name = consumer_name
        self.next_number = next_number

    def request(self) -> None:
        """Send requests until ``PULLS_AHEAD`` of them stand at the server, unless it is broken."""
        while len(self._standing) < PULLS_AHEAD and not self.is_broken:
            self._requests += 1
            reply = f"{self._inbox}.{self._requests}"
            try:
                self.api.pull(self._consumer_name, self._batch, PULL_EXPIRES, reply)
            except ConnectionError:
                self.is_broken = True
            else:
                self._standing.append([self._requests, self._batch])

    @property
    def newest_number(self) -> int:
        """The number of the last message that has arrived."""
        return self.next_number + len(self.messages) - 1

    def is_next(self, metadata: MessageMetadata) -> bool:
        """Return whether the first message, of ``metadata``, is the next one. If not, break."""
        if metadata.consumer_position != self.next_number:
            self.end()
            return False
        return True

    def drop_first(self) -> None:
        """Remove the first message, which was used."""
        self.messages.popleft()
        self.next_number += 1

    def end(self) -> None:
        """Drop all messages: they come again from another JetStream consumer."""
        self.is_broken = True
        self.messages.clear()
        self._arrived.set()

    def _on_message(
        self, _: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        if self.is_broken:
            return  # a message before this one may be missing
        status = 0 if payload else status_of(headers)
        if not status:
            self.messages.append(_new_message(Message, (subject, reply, payload)))
            if self._standing:
                oldest = self._standing[0]
                oldest[1] -= 1
                if not oldest[1]:
                    self._standing.popleft()
        else:
            # The status of a request comes to the request; the messages under their own subjects.
            number = int(subject[subject.rfind(b".") + 1 :])
            self._standing = deque(each for each in self._standing if each[0] != number)
            is_completed = headers is not None and b"Completed" in headers
            if status == NO_RESPONDERS or (status == CONFLICT and not is_completed):
                self.is_broken = True  # the messages before this status are still good
        self._arrived.set()


_new_message = tuple.__new__  # half the time of ``Message(…)``, which runs for each message
