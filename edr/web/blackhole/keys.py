"""``Key``: the binding of a Blackhole client, ``edr.<severity>.<verbosity>.<app>``.

A key is a threshold: its severity and every higher one, its verbosity and every higher one. Kazoo
expands it into one key for each pair of levels, with the account in between, and these *expanded
keys* are visible to clients: a reply names the key once for each of them, and an event has the
expanded key that it matched.

The app may be ``*``. As a key has exactly three parts after ``edr``, one app with a dot in its name
cannot be named. ``*`` matches it here, and does not in Kazoo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from edr.records import Binding, Event, Severity, Verbosity
from edr.web.blackhole.replies import BINDING_FORMAT, SEVERITIES, VERBOSITIES, RequestError

FAMILY = "edr"
"""The first part of a key. Kazoo's Blackhole has further families, such as ``call``."""


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a subscription, without its account."""

    severity: Severity
    verbosity: Verbosity
    app_name: str

    @classmethod
    def of_parts(cls, parts: Sequence[str]) -> Self:
        """Return the key with these parts, those after ``edr``.

        Raises:
            RequestError: there are not three, or one is not valid. Kazoo checks in this order.
        """
        if len(parts) != 3 or not parts[2]:  # noqa: PLR2004
            raise RequestError(BINDING_FORMAT)
        severity, verbosity, app_name = parts
        if severity not in tuple(Severity):
            raise RequestError(SEVERITIES)
        if verbosity not in tuple(Verbosity):
            raise RequestError(VERBOSITIES)
        return cls(Severity(severity), Verbosity(verbosity), app_name)

    def __str__(self) -> str:
        return f"{FAMILY}.{self.severity}.{self.verbosity}.{self.app_name}"

    @property
    def expanded(self) -> int:
        """The number of expanded keys."""
        return len(self.severity.and_higher) * len(self.verbosity.and_higher)

    def binding(self, account_id: str) -> Binding:
        """Return the binding of edr that matches the same events of ``account_id``."""
        return Binding(
            account_id=account_id,
            app_name=self.app_name,
            severity=self.severity,
            verbosity=self.verbosity,
        )

    def expanded_key(self, event: Event, account_id: str) -> str:
        """Return the expanded key by which ``event`` matches."""
        return f"{FAMILY}.{event.severity}.{event.verbosity}.{account_id}.{self.app_name}"
