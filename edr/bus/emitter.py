"""``Emitter``: emits events of one app. It is to ``emit`` as a logger is to logging.

The fields of a body override those of the emitter, and these override those of ``edr.context``.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Coroutine, Mapping
from typing import Any, Self

from edr.bus import default
from edr.bus.bus import Bus
from edr.bus.context import with_fields
from edr.records import AnySeverity, AnyVerbosity, Severity, Verbosity


class Emitter:
    """Emits events of one service; make one per module, at import time if you like.

    Args:
        app_name: the service.
        app_version: its version.
        account_id: the account of events that name none themselves.
        bus: where to; by default the default bus of the loop that emits. It may be set later.
        fields: what every body has that does not say otherwise.
        durable: let ``emit`` wait until the bus's journal has stored the event.

    Its methods promise and raise what those of ``Bus`` do.
    """

    __slots__ = ("account_id", "app_name", "app_version", "bus", "durable", "fields")

    def __init__(
        self,
        app_name: str,
        app_version: str,
        account_id: str | None = None,
        *,
        bus: Bus | None = None,
        fields: Mapping[str, Any] | None = None,
        durable: bool = False,
    ) -> None:
        self.app_name: str = app_name
        self.app_version: str = app_version
        self.account_id: str | None = account_id
        self.bus: Bus | None = bus
        self.durable: bool = durable
        self.fields: Mapping[str, Any] = dict(fields or {})

    def __repr__(self) -> str:
        return f"Emitter({self.app_name!r}, {self.app_version!r}, {self.account_id!r})"

    def with_fields(self, account_id: str | None = None, **fields: Any) -> Self:
        """Return a copy of this emitter that adds ``fields`` to each body, and has this account."""
        return type(self)(
            self.app_name,
            self.app_version,
            self.account_id if account_id is None else account_id,
            bus=self.bus,
            fields={**self.fields, **fields},
            durable=self.durable,
        )

    def emit(
        self,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> Coroutine[Any, Any, int]:
        """``Bus.emit``; to be awaited."""
        values = self._values(severity, verbosity, body, account_id)
        if self.durable:
            return (self.bus or default).emit(*values, durable=True)
        return (self.bus or default).emit(*values)

    def emit_nowait(
        self,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> bool:
        """``Bus.emit_nowait``."""
        return (self.bus or default).emit_nowait(
            *self._values(severity, verbosity, body, account_id)
        )

    def emit_threadsafe(
        self,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> concurrent.futures.Future[int]:
        """``Bus.emit_threadsafe``."""
        return (self.bus or default).emit_threadsafe(
            *self._values(severity, verbosity, body, account_id)
        )

    def ok(
        self,
        body: Mapping[str, Any],
        *,
        verbosity: AnyVerbosity = Verbosity.INFO,
        account_id: str | None = None,
    ) -> Coroutine[Any, Any, int]:
        """``emit`` of severity ok; to be awaited."""
        return self.emit(Severity.OK, verbosity, body, account_id)

    def warning(
        self,
        body: Mapping[str, Any],
        *,
        verbosity: AnyVerbosity = Verbosity.WARN,
        account_id: str | None = None,
    ) -> Coroutine[Any, Any, int]:
        """``emit`` of severity warning; to be awaited."""
        return self.emit(Severity.WARNING, verbosity, body, account_id)

    def critical(
        self,
        body: Mapping[str, Any],
        *,
        verbosity: AnyVerbosity = Verbosity.ERROR,
        account_id: str | None = None,
    ) -> Coroutine[Any, Any, int]:
        """``emit`` of severity critical; to be awaited."""
        return self.emit(Severity.CRITICAL, verbosity, body, account_id)

    def _values(
        self,
        severity: AnySeverity,
        verbosity: AnyVerbosity,
        body: Mapping[str, Any],
        account_id: str | None,
    ) -> tuple[str, str, AnySeverity, AnyVerbosity, Mapping[str, Any], str | None]:
        if self.fields:
            body = with_fields(self.fields, body)
        if account_id is None:
            account_id = self.account_id
        return self.app_name, self.app_version, severity, verbosity, body, account_id
