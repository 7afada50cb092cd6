"""``run``: runs a program, and drains the buses of its loop at the end, also on signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from edr.bus.shutdown import Shutdown, shutdown_in

if TYPE_CHECKING:
    from edr.bus.lifecycle import Lifecycle

T = TypeVar("T")

EX_TEMPFAIL = 75
"""The exit status for a supervisor: the program ended with unprocessed events."""


def run(
    main: Coroutine[Any, Any, T],
    *,
    drain_timeout: float | None = 10.0,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run ``main`` as ``asyncio.run`` does, and drain the buses of its loop at the end.

    After ``main``, also if it raises, queued events are processed for at most ``drain_timeout``
    seconds; unprocessed events are logged. This includes the default bus and each ``Bus()``. On
    SIGINT and SIGTERM, ``main`` is cancelled first, and ``async with Bus()`` drains in spite of the
    cancellation. A second signal ends the program at once, also if code blocks the loop. The
    previous signal handlers are restored at the end. In a thread other than the main one, signal
    handlers are not changed.

    Args:
        main: the program.
        drain_timeout: seconds for all buses together; ``None`` for no limit.
        debug: as in ``asyncio.run``.
        loop_factory: as in ``asyncio.Runner``; ``uvloop.new_event_loop``, say.

    Returns:
        The result of ``main``.

    Raises:
        TypeError: ``main`` is not a coroutine. It may be a function that was not called.
        KeyboardInterrupt: SIGINT came, and cancelled ``main``.
        SystemExit: SIGTERM came, and cancelled ``main``. The status is 0 if no bus left anything
            undone, else 75, which asks a supervisor to start again. An event counts that was
            queued, or not sent by a link, or left by a consumer that closed its subscription, or
            accepted by a journal that could not store it at its end.
    """
    if not asyncio.iscoroutine(main):
        hint = "; call it: edr.run(main())" if callable(main) else ""
        raise TypeError(f"run takes a coroutine, not {main!r}{hint}")
    try:
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            return runner.run(_run(main, drain_timeout))
    except _ForcedExit:
        raise SystemExit(EX_TEMPFAIL) from None


class _ForcedExit(KeyboardInterrupt):
    """A SIGTERM that ends the program at once. The bus contains a SystemExit of a callback."""


class _Signals:
    """Cancels a task when a signal comes, and remembers the first one."""

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self.first: signal.Signals | None = None
        self.main_is_over = False
        self.is_forced = False
        """Whether a signal interrupted the code that held the loop."""
        self._is_pending = False

    @contextmanager
    def cancelling(self, task: asyncio.Task[Any]) -> Iterator[None]:
        # Plain handlers, not the loop's: those never run while plain code holds the loop.
        before: dict[signal.Signals, Any] = {}
        handler = partial(self._interrupt, task)
        with suppress(ValueError):  # not in the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, previous in before.items():
                # None: it was not set from Python, and cannot be set again.
                signal.signal(number, signal.SIG_DFL if previous is None else previous)

    def _interrupt(self, task: asyncio.Task[Any], number: int, _frame: object) -> None:
        """Called by Python between two instructions of the main thread, whatever runs there."""
        if self._is_pending:  # the loop did not get to handle the signal before
            self.is_forced = True
            raise KeyboardInterrupt if number == signal.SIGINT else _ForcedExit
        self._is_pending = True
        with suppress(RuntimeError):  # the loop was closed just now
            task.get_loop().call_soon_threadsafe(self._came, signal.Signals(number), task)

    def _came(self, number: signal.Signals, task: asyncio.Task[Any]) -> None:
        self._is_pending = False
        is_first = self.first is None
        self.first = self.first or number
        self._shutdown.is_requested = True
        if not (is_first and self.main_is_over):  # then it is ending already
            task.cancel()


async def _run(main: Coroutine[Any, Any, T], drain_timeout: float | None) -> T:
    task = asyncio.current_task()
    assert task is not None
    with shutdown_in(task.get_loop(), drain_timeout) as shutdown:
        signals = _Signals(shutdown)
        with signals.cancelling(task):
            try:
                try:
                    return await main
                finally:
                    signals.main_is_over = True
                    if not signals.is_forced:
                        await _drain_all(shutdown)
            except asyncio.CancelledError:
                if signals.first is None or signals.is_forced:
                    raise
                task.uncancel()
    if signals.first is signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(EX_TEMPFAIL if shutdown.unprocessed else 0)


async def _drain_all(shutdown: Shutdown) -> None:
    """Drain the buses of the loop, the latest first: earlier ones may serve their callbacks."""
    async with AsyncExitStack() as ends:  # one that fails keeps no other from its end
        for bus in shutdown.buses:
            ends.push_async_exit(partial(_end, bus, shutdown))


async def _end(
    bus: Lifecycle,
    shutdown: Shutdown,
    _type: type[BaseException] | None,
    exc: BaseException | None,
    _traceback: TracebackType | None,
) -> None:
    """Drain and close ``bus``, or close it at once if a second signal ended the drain before."""
    try:
        if not isinstance(exc, asyncio.CancelledError):
            await bus.drain(shutdown.remaining())
    finally:
        await bus.aclose()
