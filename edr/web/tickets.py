"""``Tickets``: short texts that admit one connection each, in place of a token in a URL.

A browser cannot send a header with ``EventSource`` or ``WebSocket``, and a URL is stored in logs
and in histories. So a page sends its token once, by ``POST /ticket``, and connects with the ticket.
A copy of that URL is of no use: a ticket is valid once, for 30 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from secrets import token_urlsafe
from time import monotonic
from typing import NamedTuple

from edr.web.authentication import Identity
from edr.web.refusals import RefusedError

LIFETIME = 30.0
"""Seconds for which a ticket is valid. A page uses it at once."""

MAX_PER_ACCOUNT = 1000
"""Tickets of one account that are not used yet."""

MAX_TICKETS = 10_000
"""Tickets that are not used yet. One takes about 0.5 KiB."""


class _Ticket(NamedTuple):
    identity: Identity
    until: float


class Tickets:
    """The tickets that are not used yet.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tickets: dict[str, _Ticket] = {}  # oldest first
        self._by_account: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, identity: Identity) -> str:
        """Return a new ticket for ``identity``.

        Raises:
            RefusedError: too many are not used yet, 429.
        """
        self._remove_old()
        account = identity.grant.account
        if len(self) >= MAX_TICKETS or self._by_account[account] >= MAX_PER_ACCOUNT:
            raise RefusedError("too_many_clients", "too many tickets have not been used yet")
        text = token_urlsafe(32)
        self._tickets[text] = _Ticket(identity, self._clock() + LIFETIME)
        self._by_account[account] += 1
        return text

    def redeem(self, text: str) -> Identity | None:
        """Return the identity of a ticket, which is used now; ``None`` if it is not valid."""
        ticket = self._remove(text)
        if ticket is None or ticket.until <= self._clock():
            return None
        # Each connection has its own: its grant is renewed by itself.
        return Identity(ticket.identity.grant, ticket.identity.token)

    def _remove(self, text: str) -> _Ticket | None:
        ticket = self._tickets.pop(text, None)
        if ticket is not None:
            account = ticket.identity.grant.account
            self._by_account[account] -= 1
            if not self._by_account[account]:
                del self._by_account[account]
        return ticket

    def _remove_old(self) -> None:
        now = self._clock()
        while self._tickets:
            text, ticket = next(iter(self._tickets.items()))
            if ticket.until > now:
                break
            self._remove(text)
