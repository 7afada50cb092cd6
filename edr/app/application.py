"""``Application``: starts the parts of a configuration, changes them by name, and ends them.

The order makes the promises. Consumers are created before a source reads, so that no accepted event
is missed by a sink. Sources stop first, and the bus closes last, because it closes its journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from edr._util.log import log_safely
from edr.app.changes import (
    Action,
    Change,
    PartValues,
    changes_between,
    fixed_settings_changed,
    part_values,
    place_of,
)
from edr.app.config import Configuration, ConfigurationError, Fault, Secrets
from edr.app.parts import AppPart, PartRunner
from edr.bus import Bus

START_ORDER = ("link", "sink", "gateway", "source")
"""Kinds of parts in the order in which they start: a source that reads needs everything else."""

CHANGE_TIMEOUT = 15.0
"""Seconds for a part to stop in a reload; a sink that hangs must not hold up the others."""

WORKING = {"running", "retrying", "waiting", "up", "ended"}
"""States of a part that works, or that waits for a peer for less than a minute."""

UNKNOWN = (None, ())
"""The configuration of a part that could not be changed: it differs from each one."""

BUS_GRACE = 2.0
"""Seconds for the bus to close after the deadline: the journal stores what it has accepted."""

_logger = logging.getLogger("edr.app")


class Parts(Protocol):
    """Makes the parts of an application for one bus, and changes them in place."""

    def make(self, kind: str, name: str, configuration: Any, secrets: Secrets) -> AppPart:
        """Return a new part; it is not started."""
        ...

    async def rebind(self, part: AppPart, configuration: Any) -> None:
        """Change the bindings of ``part`` to those of ``configuration``."""
        ...

    async def replace(self, part: AppPart, old: Any, new: Any, secrets: Secrets) -> bool:
        """Change the options of ``part``; return False if it must be made again."""
        ...

    def widen(self, changes: Iterable[Change]) -> None:
        """Widen the stored events by the bindings of new and changed parts."""
        ...

    def narrow(self, changes: Iterable[Change]) -> None:
        """Narrow the stored events to the bindings of the parts."""
        ...

    async def refresh(self) -> None:
        """Use the files that have changed, such as those with tokens. It raises nothing."""
        ...


class Server(Protocol):
    """A server of the application, which runs from before the sources until after the sinks."""

    async def start(self) -> None:
        """Start to serve."""
        ...

    async def aclose(self) -> None:
        """Stop serving. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The effect of a reload."""

    changed: tuple[tuple[str, str], ...] = ()
    """The action and ``KIND NAME`` of each part that was changed, such as ``rebound``."""
    failed: tuple[tuple[str, str], ...] = ()
    """``KIND NAME`` and the reason for each part that could not be changed. It is tried again."""


@dataclass(frozen=True, slots=True)
class StopResult:
    """The events that were not delivered when the application stopped."""

    lost: dict[str, int] = field(default_factory=dict)
    """Name of a part -> events that were in no journal. They are gone."""
    kept: dict[str, int] = field(default_factory=dict)
    """Name of a durable part -> entries that wait in the journal for the next start."""


class Application:
    """Runs a configuration: sources, journal, sinks and links, with an orderly start and stop.

    Promises: a part that fails, hangs or raises does not delay the others, a reload or the stop. A
    reload does not touch unchanged parts, and a faulty configuration changes nothing.

    Use it in one event loop: ``await application.run()``. It installs no signal handlers.

    Args:
        configuration: the parts and their options.
        bus: has a journal. The application opens and closes both.
        parts: makes the parts.
        secrets: the values of the secrets; by default they are read from the environment.
    """

    def __init__(
        self,
        configuration: Configuration,
        bus: Bus,
        parts: Parts,
        *,
        secrets: Secrets | None = None,
    ) -> None:
        self.configuration: Configuration = configuration
        self.bus: Bus = bus
        self.reload_ok: bool = True
        """Whether the last reload changed what its file says."""
        self.state: str = "starting"
        """``starting``, ``running``, ``stopping`` or ``stopped``."""
        self._parts = parts
        self._early_servers: list[Server] = []
        self._servers: list[Server] = []
        self._secrets = secrets or Secrets()
        self._values: PartValues = {}
        self._runners: dict[tuple[str, str], PartRunner] = {}
        self._reloading = asyncio.Lock()
        self._stop_requested = asyncio.Event()
        self._started = asyncio.Event()
        self._is_closed = False

    def add_server(self, server: Server, *, is_early: bool = False) -> None:
        """Add a server. It runs from before the sources start until after the sinks have stopped.

        Args:
            server: the server.
            is_early: start it before the journal is opened, which may be repaired for minutes.
        """
        (self._early_servers if is_early else self._servers).append(server)

    # State

    @property
    def runners(self) -> list[PartRunner]:
        """The parts of this moment."""
        return list(self._runners.values())

    def shown_parts(self) -> list[Any]:
        """Return the parts for the control socket."""
        return [runner.shown for runner in self.runners]

    def status(self) -> dict[str, dict[str, Any]]:
        """Return ``KIND NAME`` -> the status of each part."""
        return {f"{each.kind} {each.name}": dict(each.status()) for each in self.runners}

    @property
    def is_ready(self) -> bool:
        """Whether it runs and the parts in ``app.ready_requires`` work."""
        required = self.configuration.app.ready_requires
        return self.state == "running" and all(
            str(each.status().get("state")) in WORKING
            for each in self.runners
            if each.kind != "gateway" and each.name in required
        )

    async def wait_started(self) -> None:
        """Wait until the application runs, or stops."""
        await self._started.wait()

    # Run

    async def run(self) -> StopResult:
        """Start, wait for ``stop``, end everything in order, and return what was not delivered.

        Cancellation: everything is closed at once. Durable events stay in the journal.

        Raises:
            edr.journal.JournalError: the journal cannot be opened. Nothing was started.
            OSError: a server cannot listen.
            ConfigurationError: a part refuses its configuration. Nothing has started.
        """
        try:
            await self._start()
            await self._stop_requested.wait()
            return await self._end()
        finally:
            self._started.set()
            await self._close()

    def stop(self) -> None:
        """Request the end; ``run`` returns after it. Idempotent."""
        self._stop_requested.set()

    async def _start(self) -> None:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._close)
            refused: OSError | None = None
            for server in self._early_servers:
                try:
                    await server.start()
                except OSError as exc:  # a second application has the journal in use too
                    refused = exc
            await self.bus.__aenter__()
            self._log("the journal is open")
            if refused is not None:
                raise refused
            self._values = part_values(self.configuration, self._secrets)
            self._make_parts()
            # All consumers first: events are kept for each sink from the first one on.
            await _each(runner.prepare() for runner in self.runners)
            for server in self._servers:
                await server.start()
            for kind in START_ORDER:
                if self._stop_requested.is_set():
                    break
                await _each(runner.start() for runner in self._of_kind(kind))
            undo.pop_all()
        self.state = "running"
        self._started.set()
        self._log("the application runs")

    def _make_parts(self) -> None:
        faults: list[Fault] = []
        for (kind, name), (part, _) in self._values.items():
            try:
                made = self._parts.make(kind, name, part, self._secrets)
            except ValueError as exc:  # such as a secret that has changed since the check
                faults.append(Fault(place_of(kind, name), None, str(exc)))
            else:
                self._runners[kind, name] = PartRunner(made)
        if faults:
            raise ConfigurationError("the configuration", faults)

    def _of_kind(self, kind: str) -> list[PartRunner]:
        return [runner for runner in self.runners if runner.kind == kind]

    # Reload

    async def reload(
        self, configuration: Configuration, secrets: Secrets | None = None
    ) -> ReloadResult:
        """Change the parts whose configuration, or whose secrets, are others.

        Unchanged parts are not touched. A part whose bindings alone differ is bound again, and
        misses no event. A removed part stops, and its consumer keeps its position.

        Args:
            configuration: the new configuration, which was checked.
            secrets: the new values of the secrets; by default they are read again.

        Raises:
            ConfigurationError: it changes a setting that needs a restart. Nothing was changed.
            SecretError: a secret cannot be read. Nothing was changed.
        """
        await self._started.wait()  # the control socket is open before the parts have started
        async with self._reloading:
            try:
                result = await self._reload(configuration, secrets or Secrets())
            except BaseException:
                self.reload_ok = False
                raise
            self.reload_ok = not result.failed
            return result

    async def _reload(self, configuration: Configuration, secrets: Secrets) -> ReloadResult:
        if faults := fixed_settings_changed(self.configuration, configuration):
            raise ConfigurationError("the new configuration", faults)
        values = part_values(configuration, secrets)
        if self.state != "running" or self._stop_requested.is_set():
            return ReloadResult()
        changes = list(changes_between(self._values, values))
        self._parts.widen(changes)
        self.configuration, self._secrets = configuration, secrets
        failed: dict[str, str] = {}
        # Sources come last: the other parts are changed before new events arrive.
        for kind in START_ORDER:
            await _each(
                self._change(change, secrets, failed) for change in changes if change.kind == kind
            )
        self._parts.narrow(changes)
        await self._parts.refresh()
        # The next reload changes a part again that could not be changed now.
        self._values = {
            key: UNKNOWN if f"{key[0]} {key[1]}" in failed else value
            for key, value in values.items()
        }
        changed = tuple((str(each.action), f"{each.kind} {each.name}") for each in changes)
        for action, name in changed:
            if name not in failed:
                self._log(f"{name} was {action}")
        return ReloadResult(changed, tuple(failed.items()))

    async def _change(self, change: Change, secrets: Secrets, failed: dict[str, str]) -> None:
        try:
            runner = await self._changed(change, secrets)
        except Exception as exc:  # of a part: the others are changed all the same
            failed[f"{change.kind} {change.name}"] = str(exc) or type(exc).__name__
            log_safely(
                logging.ERROR,
                "%s %r could not be changed: %r",
                *(change.kind, change.name, exc),
                exc=exc,
                logger=_logger,
            )
        else:
            if runner is not None and runner.error is not None:
                failed[f"{change.kind} {change.name}"] = runner.error

    async def _changed(self, change: Change, secrets: Secrets) -> PartRunner | None:
        key = change.kind, change.name
        runner = self._runners.get(key)
        if runner is not None and runner.error is None:
            async with asyncio.timeout(CHANGE_TIMEOUT):
                if change.action is Action.REBOUND:
                    await self._parts.rebind(runner.part, change.new)
                    return runner
                if change.action is Action.REPLACED and await self._parts.replace(
                    runner.part, change.old, change.new, secrets
                ):
                    return runner
        made = None
        if change.new is not None:  # first, as it may fail
            made = self._parts.make(change.kind, change.name, change.new, secrets)
        if runner is not None:
            del self._runners[key]
            await runner.end(min(CHANGE_TIMEOUT, self.configuration.app.shutdown_timeout))
        if made is None:
            return None
        runner = self._runners[key] = PartRunner(made)
        await runner.prepare()
        await runner.start()
        return runner

    # End

    async def _end(self) -> StopResult:
        async with self._reloading:  # a reload that runs is finished first
            self.state = "stopping"
            timeout = self.configuration.app.shutdown_timeout
            self._log(f"the application stops, within {timeout:g} s")
            loop = asyncio.get_running_loop()
            deadline = loop.time() + timeout

            def left() -> float:
                return max(0.0, deadline - loop.time())

            result = StopResult()
            failed: int = self._journal_failures()
            await _each(runner.end(left()) for runner in self._of_kind("source"))
            await self.bus.join(left())
            await self._flush(left())
            for kind in ("sink", "link", "gateway"):  # clients see the alerts of the others
                await _each(self._end_part(each, left(), result) for each in self._of_kind(kind))
            await self._close_servers()
            result.lost.update(await self.bus.drain(max(left(), BUS_GRACE)))
            if count := self._journal_failures() - failed:
                result.lost["journal"] = count
            return result

    async def _end_part(self, runner: PartRunner, timeout: float, result: StopResult) -> None:
        count = await runner.end(timeout)
        if count:
            (result.kept if runner.part.is_durable else result.lost)[runner.name] = count

    async def _flush(self, timeout: float) -> None:
        journal: Any = self.bus.journal
        try:
            async with asyncio.timeout(timeout):
                await journal.flush()
        except Exception as exc:  # its failures are counted, and the stop continues
            log_safely(
                logging.ERROR,
                "the journal could not store all events before the stop: %s",
                str(exc) or type(exc).__name__,
                logger=_logger,
            )

    def _journal_failures(self) -> int:
        journal: Any = self.bus.journal
        failed: int = journal.statistics().failed
        return failed

    async def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.state = "stopped"
        try:
            if not self.bus.closed:
                await _each(runner.aclose() for runner in self.runners)
            await self._close_servers()
        finally:
            await self.bus.aclose()
        self._log("the application has stopped")

    async def _close_servers(self) -> None:
        for server in reversed([*self._early_servers, *self._servers]):
            with suppress(Exception):
                await server.aclose()

    def _log(self, text: str) -> None:
        log_safely(logging.INFO, "%s", text, logger=_logger)


async def _each(works: Iterable[Awaitable[Any]]) -> None:
    """Run all at once. They handle their own faults."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    for task in tasks:
        task.result()
