"""``Limits`` of a gateway, and ``ClientCounts``, which counts its clients.

A client is counted before it is authenticated. So an authenticator that takes long cannot be called
by one address more often than ``per_address`` at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from ipaddress import IPv6Address, ip_address
from types import TracebackType
from typing import Any, Self

from edr.web.refusals import RefusedError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a gateway. Each is a whole number above 0.

    Raises:
        TypeError, ValueError: a limit is not valid.
    """

    clients: int = 1000
    """Connections at a time."""
    per_account: int = 100
    """Connections at a time with the grant of one account. ``Grant.everything()`` counts as one
    account."""
    per_address: int = 50
    """Connections at a time from one address. Of IPv6, a network of 64 bits counts as one address:
    every customer of a provider has at least such a network."""
    subscriptions: int = 16
    """Subscriptions of one WebSocket connection."""
    frame: int = 65_536
    """Bytes of a frame or of a body that a client sends."""
    batch: int = 65_536
    """Bytes of events that are sent in one write. A larger event is sent alone."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{each.name} must be a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{each.name} must be at least 1, got {value!r}")


class ClientCounts:
    """The clients of a gateway, by account and by address.

    Args:
        limits: the limits.
    """

    def __init__(self, limits: Limits) -> None:
        self.total: int = 0
        """All clients."""
        self._limits = limits
        self._by_account: Counter[str | None] = Counter()
        self._by_address: Counter[str] = Counter()

    @property
    def by_account(self) -> dict[str | None, int]:
        """The authenticated clients of each account; ``None`` for ``Grant.everything()``."""
        return dict(self._by_account)

    @property
    def by_address(self) -> dict[str, int]:
        """The clients of each address, or network of addresses."""
        return dict(self._by_address)

    def enter(self, address: str) -> Seat:
        """Count a client of ``address``, until its seat is left.

        Raises:
            RefusedError: there are too many, 429.
        """
        network = network_of(address)
        if self.total >= self._limits.clients:
            raise _too_many("the gateway has", self._limits.clients)
        if self._by_address[network] >= self._limits.per_address:
            raise _too_many("this address has", self._limits.per_address)
        return Seat(self, network)

    def check_account(self, account: str | None) -> None:
        """Raise ``RefusedError`` if the account has too many clients."""
        if self._by_account[account] >= self._limits.per_account:
            raise _too_many("this account has", self._limits.per_account)

    def count(self, address: str, by: int) -> None:
        """Change the number of clients of an address, for ``Seat``."""
        self.total += by
        _add(self._by_address, address, by)

    def count_account(self, account: str | None, by: int) -> None:
        """Change the number of clients of an account, for ``Seat``."""
        _add(self._by_account, account, by)


class Seat:
    """One client that is counted. It is a context manager; ``leave`` is idempotent."""

    def __init__(self, counts: ClientCounts, address: str) -> None:
        self._counts = counts
        self._address = address
        self._accounts: list[str | None] = []
        self._has_left = False
        counts.count(address, 1)

    def take_account(self, account: str | None) -> None:
        """Count the client for its account too, once it is authenticated. Call it once.

        Raises:
            RefusedError: the account has too many, 429.
        """
        self._counts.check_account(account)
        self._counts.count_account(account, 1)
        self._accounts.append(account)

    def leave(self) -> None:
        """Do not count the client any more."""
        if self._has_left:
            return
        self._has_left = True
        self._counts.count(self._address, -1)
        for account in self._accounts:
            self._counts.count_account(account, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()


def network_of(address: str) -> str:
    """Return the text by which an address is counted."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket has none
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


def _add(counter: Counter[Any], key: Any, by: int) -> None:
    counter[key] += by
    if not counter[key]:
        del counter[key]


def _too_many(subject: str, limit: int) -> RefusedError:
    return RefusedError("too_many_clients", f"{subject} {limit:,} clients, and may not have more")
