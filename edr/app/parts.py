"""``AppPart``: a sink, source or link as the application starts, changes and ends it.

A ``SinkWorker``, a ``LinkPart`` and each source of ``edr.sources`` are such parts.
``PartRunner`` starts one part, and tries again while that fails, so that a part that cannot start
does not stop the application.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from edr._util.log import log_safely
from edr.control import Part
from edr.records import Binding

START_TIMEOUT = 30.0
"""Seconds in which a part must have started. Sinks and links connect after that."""

START_AGAIN_AFTER = 10.0
"""Seconds until a part that could not start is started again, such as with a socket in use."""

CLOSE_TIMEOUT = 5.0
"""Seconds for a part to close. One that hangs is left to the end of the process."""

_logger = logging.getLogger("edr.app")


class AppPart(Part, Protocol):
    """A part of the application: a ``Part`` of the control socket that can start and end."""

    @property
    def is_durable(self) -> bool:
        """Whether events that it did not deliver are kept for the next start."""
        ...

    async def start(self) -> None:
        """Start. It does not wait for a peer. Idempotent."""
        ...

    async def drain(self, timeout: float | None = None) -> int:
        """Process the pending events, close, and return the number that was not processed."""
        ...

    async def aclose(self) -> None:
        """Close now. Idempotent."""
        ...


@runtime_checkable
class Consuming(Protocol):
    """A part with a consumer, which must exist before events are published."""

    async def prepare(self) -> None:
        """Create its consumer, so that events are kept for it from now on. Idempotent."""
        ...


class PartRunner:
    """One part: starts it, tries again while that fails, and ends it.

    Args:
        part: the part.
    """

    def __init__(self, part: AppPart) -> None:
        self.part: AppPart = part
        self.error: str | None = None
        """Why it could not start."""
        self._is_started = False
        self._starting: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The name of the part."""
        return self.part.name

    @property
    def kind(self) -> str:
        """The kind of the part."""
        return self.part.kind

    @property
    def bindings(self) -> Sequence[Binding]:
        """The events that the part takes."""
        return self.part.bindings

    @property
    def shown(self) -> Any:
        """The part for the control socket; this object while the part has not started."""
        return self.part if self.error is None else self

    def status(self) -> Mapping[str, object]:
        """Return the status of the part, with the reason if it could not start."""
        if self.error is None:
            return self.part.status()
        return {"state": "failed", "error": self.error}

    async def prepare(self) -> None:
        """Create the consumer of the part, if it has one."""
        if isinstance(self.part, Consuming):
            await self._try(self.part.prepare)

    async def start(self) -> None:
        """Start the part. If that fails, it is logged and tried again every 10 seconds."""
        await self._try(self.part.start)
        if self.error is None:
            self._started()
        elif self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(
                self._start_again(), name=f"edr start {self.kind} {self.name}"
            )

    async def _start_again(self) -> None:
        while self.error is not None:
            await asyncio.sleep(START_AGAIN_AFTER)
            await self._try(self.part.start)
        self._started()

    def _started(self) -> None:
        self._is_started = True
        if self.kind == "source":  # the others log their states
            log_safely(logging.INFO, "%s %r started", self.kind, self.name, logger=_logger)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await step()
        except Exception as exc:
            error = str(exc) or type(exc).__name__
            if isinstance(exc, TimeoutError):
                error = f"it did not start within {START_TIMEOUT:g} s"
            if error != self.error:
                log_safely(
                    logging.ERROR,
                    "%s %r could not start: %s; trying again every %g s",
                    *(self.kind, self.name, error, START_AGAIN_AFTER),
                    logger=_logger,
                )
            self.error = error
        else:
            self.error = None

    async def end(self, timeout: float) -> int:
        """Drain the part, close it, and return the number of events that were not processed.

        Args:
            timeout: seconds to drain.
        """
        await self._stop_starting()
        left = 0
        try:
            async with asyncio.timeout(timeout + CLOSE_TIMEOUT):
                if self._is_started:
                    left = await self.part.drain(timeout)
                await self.part.aclose()
        except TimeoutError:
            log_safely(logging.ERROR, "%s %r did not close", self.kind, self.name, logger=_logger)
        except Exception as exc:  # a part that fails at its end does not delay the others
            log_safely(
                logging.ERROR,
                "%s %r failed to close: %r",
                *(self.kind, self.name, exc),
                exc=exc,
                logger=_logger,
            )
        else:
            if self.kind == "source":
                log_safely(logging.INFO, "%s %r stopped", self.kind, self.name, logger=_logger)
        return left

    async def aclose(self) -> None:
        """Close the part now."""
        await self._stop_starting()
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.part.aclose()

    async def _stop_starting(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
            self._starting = None
