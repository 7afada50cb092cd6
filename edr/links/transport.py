"""``Transport``: the part of a link that knows one kind of broker.

``Link`` calls it in this order, for each connection: ``connect``, ``set_interest``, then ``send``
and ``lost`` at the same time while it calls ``set_interest`` again after each change, then
``close``. A transport publishes received messages by the link's ``Inbound``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edr.delivery import Outbox
from edr.records import TrieKey


class Transport(Protocol):
    """A connection to one kind of broker. After each loss it is made again."""

    @property
    def is_blocked(self) -> bool:
        """Whether the broker announced that it accepts nothing at the moment."""
        ...

    @property
    def patterns(self) -> int:
        """Number of patterns that the broker sends messages for."""
        ...

    async def connect(self) -> None:
        """Make a new connection.

        Raises:
            LinkRefusedError: a retry cannot help.
        """
        ...

    async def send(self, outbox: Outbox, *, outage: float) -> None:
        """Send the events of ``outbox`` until the connection is lost or the link closes.

        It does not return after the last event, because the link still receives.

        Args:
            outbox: the events.
            outage: seconds without a connection before this one.
        """
        ...

    async def lost(self) -> None:
        """Wait until the connection is lost. Return, or raise the reason."""
        ...

    def patterns_for(self, keys: Iterable[TrieKey]) -> frozenset[str]:
        """Return the broker's patterns that cover ``keys`` of the trie."""
        ...

    async def set_interest(self, patterns: frozenset[str]) -> float | None:
        """Make the broker send the messages of ``patterns``.

        Returns:
            The loop's time at which to call it again, if only time passes; ``None`` for never.
        """
        ...

    async def close(self) -> None:
        """End the connection, whatever its state, also one that was only half made."""
        ...
