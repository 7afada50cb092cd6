"""``Emitter``: to emit what a logger is to logging. Who you are is said once."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Coroutine, Mapping
from typing import Any

from edr.bus import default
from edr.bus.bus import Bus
from edr.records import Severity, Verbosity


class Emitter:
    """Emits events of one service; make one per module, at import time if you like.

    Args:
        app_name: the service.
        app_version: its version.
        account_id: the account of events that name none themselves.
        bus: where to; by default the default bus of the loop that emits.

    Its methods promise and raise what those of ``Bus`` do.
    """

    __slots__ = ("_bus", "account_id", "app_name", "app_version")

    def __init__(
        self,
        app_name: str,
        app_version: str,
        account_id: str | None = None,
        *,
        bus: Bus | None = None,
    ) -> None:
        self.app_name = app_name
        self.app_version = app_version
        self.account_id = account_id
        self._bus = bus

    def __repr__(self) -> str:
        return f"Emitter({self.app_name!r}, {self.app_version!r}, {self.account_id!r})"

    def emit(
        self,
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> Coroutine[Any, Any, int]:
        """``Bus.emit``; to be awaited."""
        return (self._bus or default).emit(
            self.app_name,
            self.app_version,
            severity,
            verbosity,
            body,
            self.account_id if account_id is None else account_id,
        )

    def emit_nowait(
        self,
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> int:
        """``Bus.emit_nowait``."""
        return (self._bus or default).emit_nowait(
            self.app_name,
            self.app_version,
            severity,
            verbosity,
            body,
            self.account_id if account_id is None else account_id,
        )

    def emit_threadsafe(
        self,
        severity: Severity | str,
        verbosity: Verbosity | str,
        body: Mapping[str, Any],
        account_id: str | None = None,
    ) -> concurrent.futures.Future[int]:
        """``Bus.emit_threadsafe``."""
        return (self._bus or default).emit_threadsafe(
            self.app_name,
            self.app_version,
            severity,
            verbosity,
            body,
            self.account_id if account_id is None else account_id,
        )
