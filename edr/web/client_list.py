"""``GatewayClient``: a client of a gateway at one moment, as ``Gateway.clients`` lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edr.control.plain import plain
from edr.control.snapshot import bindings_of
from edr.records import Binding
from edr.streams import Place
from edr.web.clients import Client


@dataclass(frozen=True, slots=True)
class ClientSubscription:
    """One subscription of a client."""

    bindings: tuple[Binding, ...]
    cursor: str
    """The position up to which the client has everything."""
    behind: int
    """The events that it was not sent yet."""
    sent: int
    """The events that it was sent."""
    missed: int
    """The events that it was told to have missed, without gaps of an unknown size."""

    @classmethod
    def of(cls, place: Place) -> ClientSubscription:
        """Return the subscription of a place."""
        return cls(place.bindings, place.cursor, place.behind, place.sent, place.missed)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object. Bindings that are too large are counted only."""
        return {
            **bindings_of(self.bindings),
            "cursor": self.cursor,
            "behind": self.behind,
            "sent": self.sent,
            "missed": self.missed,
        }


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """One client of a gateway."""

    id: str
    account: str | None
    """The account of its grant; ``None`` for an operator."""
    address: str
    origin: str | None
    transport: str
    since: datetime
    details: Mapping[str, Any]
    """Further fields, by its protocol."""
    subscriptions: tuple[ClientSubscription, ...]

    @classmethod
    def of(cls, client: Client) -> GatewayClient:
        """Return the snapshot of a client."""
        return cls(
            id=client.id,
            account=client.identity.grant.account,
            address=client.peer.address,
            origin=client.peer.origin,
            transport=client.peer.transport,
            since=client.since,
            details=dict(client.details),
            subscriptions=tuple(ClientSubscription.of(place) for place in client.places()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "id": self.id,
            "account": self.account,
            "address": self.address,
            "origin": self.origin,
            "transport": self.transport,
            "since": self.since.isoformat(timespec="milliseconds"),
            "details": plain(self.details),
            "subscriptions": [each.to_json() for each in self.subscriptions],
        }
