"""``Spool``: the events that a link has to send, when a journal keeps them.

With a journal, the link is one of its named consumers and acknowledges what the broker has
confirmed. So what was emitted while the broker was away, or before this process died, is sent in
the end: spool and outbox are one mechanism. Events that were on their way when a connection was
lost are sent again, in their order; the receivers' windows of ids drop those that had arrived.

A link that also receives must not send back what it received, and the journal has that too. So it
sends the events of its own node only, and the bus needs a node that is the same after a restart.
A link that only sends takes the events of every node.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from edr.bus import Gap
from edr.records import Event

if TYPE_CHECKING:
    from edr.journal import Consumer, Entry


class Spool:
    """The events to send, from a consumer of a journal; each until it is confirmed.

    Args:
        consumer: the link's.
        node: sends the events of this node only; ``None`` for the events of every node.
    """

    def __init__(self, consumer: Consumer, node: str | None) -> None:
        self.offered: int = 0
        self.skipped: int = 0
        """Events of other nodes, which are not sent."""
        self.missed: int = 0
        """Entries that retention removed before they were sent, of whatever node."""
        self._consumer = consumer
        self._node = node
        self._head: Entry | None = None
        self._out: dict[int, Entry] = {}
        """Entries on their way, by position, oldest first."""
        self._again: deque[Entry] = deque()
        self._end: int | None = None
        """The position of the last entry to be sent, once that is known."""

    @property
    def pending(self) -> int:
        """Events that were read and are not confirmed."""
        return len(self._out) + len(self._again) + (self._head is not None)

    async def head(self) -> Event:
        """Return the next event to send, and again until it was taken or dropped."""
        while self._head is None:
            if self._again:
                self._head = self._again.popleft()
                break
            if self._is_at_end:
                raise StopAsyncIteration
            item = await anext(self._consumer)
            if isinstance(item, Gap):
                self.missed += item.missed
            elif self._node is None or item.event.node == self._node:
                self.offered += 1
                self._head = item
            else:
                self.skipped += 1
                self._consumer.ack(item)
        return self._head.event

    def take(self) -> Entry:
        """Return the entry of the head, which is on its way now."""
        assert self._head is not None
        entry, self._head = self._head, None
        self._out[entry.position] = entry
        return entry

    def drop(self) -> None:
        """Give the head up; it does not come again."""
        assert self._head is not None
        self._consumer.ack(self._head)
        self._head = None

    def settled(self, entry: Entry) -> None:
        """Acknowledge an entry that was on its way: the broker has it, or it was given up."""
        self._consumer.ack(self._out.pop(entry.position))

    def confirmed(self, count: int) -> None:
        """Acknowledge the oldest ``count`` that are on their way."""
        for position in list(islice(self._out, count)):
            self._consumer.ack(self._out.pop(position))

    def lost(self) -> None:
        """Take note that the connection was lost: what was on its way is next."""
        if self._head is not None:
            self._again.appendleft(self._head)
            self._head = None
        self._again.extendleft(reversed(self._out.values()))
        self._out.clear()

    def stop_after(self, position: int) -> None:
        """Read nothing after ``position``."""
        self._end = position

    @property
    def _is_at_end(self) -> bool:
        if self._end is None:
            return False
        return self._consumer.caught_up or self._consumer.position >= self._end

    @property
    def is_drained(self) -> bool:
        """Whether everything up to the end is confirmed or given up."""
        return self._is_at_end and not self.pending

    async def aclose(self) -> None:
        """Store the acks and close the consumer. Unconfirmed entries come first the next time."""
        await self._consumer.aclose()
