"""``Grant``: the events that a client may see, and the form in which it sees them.

An event is visible under the grant of an account if the event belongs to this account or to one of
its descendants. The client sees it with a cut account tree: the ancestors of the granted account
are removed, so that a customer does not learn its resellers.

An event without an account, or whose ancestors are not known, is visible to ``everything`` only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from edr.records import Event

INVISIBLE = -1
"""The cut of an event that a grant does not show."""


class Grant:
    """The events that a client may see: those of one account and of its descendants, or all.

    Grants are immutable. Two grants are equal if they show the same events; ``expires`` does not
    count, so that clients with different times share a group.

    Args:
        account: the id of the account. It is compared as a whole and has no wildcards.
        expires: when the grant ends. ``edr.streams`` does not use it: the caller ends the place.

    Raises:
        TypeError, ValueError: ``account`` is not text, or is empty. An account
            cannot stand for every event; use ``Grant.everything()``.
    """

    __slots__ = ("_account", "_expires")

    def __init__(self, account: str, *, expires: datetime | None = None) -> None:
        if not isinstance(account, str):
            raise TypeError(
                f"account must be the id of an account, got {account!r}; "
                "Grant.everything() shows every event"
            )
        if not account:
            raise ValueError("account must be a non-empty string, got ''")
        self._account: str | None = str.__str__(account)
        self._expires = expires

    @classmethod
    def everything(cls, *, expires: datetime | None = None) -> Self:
        """Return the grant that shows every event, uncut. For operators."""
        grant = cls.__new__(cls)
        grant._account = None  # noqa: SLF001 - its own; __init__ accepts no account
        grant._expires = expires  # noqa: SLF001
        return grant

    @property
    def account(self) -> str | None:
        """The account; ``None`` if the grant shows every event."""
        return self._account

    @property
    def shows_everything(self) -> bool:
        """Whether it shows every event."""
        return self._account is None

    @property
    def expires(self) -> datetime | None:
        """When the grant ends; ``None`` for never."""
        return self._expires

    def cut(self, event: Event) -> int:
        """Return how many ancestors are removed from the account tree of ``event``.

        Returns:
            -1 if the event is not visible.
        """
        account = self._account
        if account is None:
            return 0
        tree = event.account_tree
        if event.account_id == account:
            return len(tree)
        return tree.index(account) if account in tree else INVISIBLE

    def sees(self, event: Event) -> bool:
        """Return whether ``event`` is visible."""
        return self.cut(event) != INVISIBLE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grant) and self._account == other._account

    def __hash__(self) -> int:
        return hash((Grant, self._account))

    def __repr__(self) -> str:
        return "Grant.everything()" if self._account is None else f"Grant({self._account!r})"


def cut_event(event: Event, cut: int) -> Event:
    """Return ``event`` without the first ``cut`` accounts of its tree."""
    if not cut:
        return event
    return event.model_copy(update={"account_tree": event.account_tree[cut:]})
