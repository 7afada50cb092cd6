"""``Sender``: who sends events to a source, and which accounts it may name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sender:
    """The rights of a sender.

    The account tree of an event decides which tenants receive it. So it is taken from the sender
    only if the sender is trusted. Otherwise it is replaced by the tree from ``Bus(accounts=…)``, or
    by an empty one.
    """

    account: str | None = None
    """The sender may emit only for this account and its descendants; ``None`` for all events."""
    is_trusted: bool = False
    """Whether an account tree that the sender has set is kept."""


LOCAL = Sender(is_trusted=True)
"""A process of the same machine that the permissions of a file let in."""
