"""``BlackholeClient``: one connection, as operators see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from edr.control.plain import plain
from edr.web.blackhole.session import Session
from edr.web.peer import Peer


class BlackholeSubscription(NamedTuple):
    """One subscription of a connection."""

    account_id: str
    """The account, or ``*``."""
    key: str
    """The key, such as ``edr.ok.info.*``."""
    behind: int
    """Events that were not taken from the streams yet."""
    sent: int
    """Events that were taken."""


@dataclass(frozen=True, slots=True)
class BlackholeClient:
    """One connection at one moment, as Kazoo's list of active sessions shows it."""

    id: str
    """Unique within the process."""
    address: str
    """The address of the client."""
    origin: str | None
    """The site of its page, if it has sent one."""
    since: datetime
    """The start of the connection."""
    is_authenticated: bool
    """Whether a token was accepted."""
    account: str | None
    """The account of its token; ``None`` for all accounts, and without a token."""
    name: str | None
    """The ``name`` that it has sent. It is text of the client."""
    metadata: Any
    """The ``metadata`` that it has sent. It is JSON of the client."""
    subscriptions: tuple[BlackholeSubscription, ...]
    """Its subscriptions, oldest first."""

    def to_json(self) -> dict[str, Any]:
        """Return it in the form of ``GET /clients`` of the gateway."""
        return {
            "id": self.id,
            "account": self.account,
            "address": self.address,
            "origin": self.origin,
            "transport": "blackhole",
            "since": self.since.isoformat(timespec="milliseconds"),
            "details": {
                "is_authenticated": self.is_authenticated,
                "name": self.name,
                "metadata": plain(self.metadata),  # it may be as deep as JSON can be
            },
            "subscriptions": [each._asdict() for each in self.subscriptions],
        }


def client_of(id: str, peer: Peer, since: datetime, session: Session) -> BlackholeClient:
    """Return the client of a connection."""
    return BlackholeClient(
        id=id,
        address=peer.address,
        origin=peer.origin,
        since=since,
        is_authenticated=session.is_authenticated,
        account=session.account,
        name=session.name,
        metadata=session.metadata,
        subscriptions=tuple(
            BlackholeSubscription(each.account_id, each.text, place.behind, place.sent)
            for each, place in session.subscriptions
        ),
    )
