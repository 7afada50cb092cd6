"""``RecordingBus``: a bus for tests. It checks everything, records everything, and names leaks.

A subscription that outlives its test goes on in the next one: it takes what is not meant for it,
or stands full and holds up who emits. What it looks like then is a fault of the next test. So the
bus remembers where each was made, by the line of the code that asked for it, and tells at the end
which are open still.

Callbacks are no leaks: they end with the bus. Nor is a subscription that nobody holds any more,
since the bus lets go of it by itself, nor one that has ended with its loop, which tells what that
left undone.

Example::

    import asyncio
    from edr.testing import RecordingBus

    async def main():
        async with RecordingBus() as bus:
            events = bus.subscribe(name="screen")
            (leak,) = bus.leaks()
            assert leak.startswith("subscription 'screen', made in main, ")
            events.shutdown()

    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from pathlib import Path
from typing import Any

from edr.bus import Bus, Handle, Subscription
from edr.records import Binding, Event
from edr.testing.recorder import Recorder

EVERYTHING = Binding(verbosity="trace")

_PACKAGE = str(Path(__file__).parents[1])

SECONDS_TO_CLOSE = 5.0
"""For a loop in another thread, such as a test client's: it may hang, and the test run must not."""


class RecordingBus(Bus):
    """A ``Bus`` that records its events and remembers where its subscriptions were made.

    Args:
        recorder: what records; by default one of its own.
        options: those of ``Bus``; ``debug`` is on.
    """

    def __init__(self, *, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(**{"debug": True, **options})
        self.recorder: Recorder = recorder or Recorder()
        self._is_binding = False
        self._made_at: weakref.WeakKeyDictionary[Subscription, str] = weakref.WeakKeyDictionary()
        self.add_tap(self.recorder, EVERYTHING)

    @property
    def is_over(self) -> bool:
        """As of ``Bus``; and also if its loop was closed without a word."""
        return super().is_over or (self.loop is not None and self.loop.is_closed())

    def subscribe(self, *bindings: Binding, **options: Any) -> Subscription[Any]:
        """As ``Bus.subscribe``."""
        subscription: Subscription[Any] = super().subscribe(*bindings, **options)
        if not self._is_binding:
            self._made_at[subscription] = _caller()
        return subscription

    def bind(self, *args: Any, **options: Any) -> Handle:
        """As ``Bus.bind``."""
        self._is_binding = True
        try:
            return super().bind(*args, **options)
        finally:
            self._is_binding = False

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that were emitted so far, in their order. From any thread."""
        return self.recorder.events

    def assert_emitted(
        self, binding: Binding | None = None, *, times: int | None = None, **fields: Any
    ) -> list[Event]:
        """As ``Recorder.assert_emitted``."""
        __tracebackhide__ = True
        return self.recorder.assert_emitted(binding, times=times, **fields)

    def assert_not_emitted(self, binding: Binding | None = None, **fields: Any) -> None:
        """As ``Recorder.assert_not_emitted``."""
        __tracebackhide__ = True
        self.recorder.assert_not_emitted(binding, **fields)

    def leaks(self) -> list[str]:
        """Name each subscription that is open still, with what it holds and where it was made."""
        if self._open():
            gc.collect()  # what only a cycle holds is nobody's
        return [
            f"subscription {subscription.name!r}, made in {made_at}; "
            f"{subscription.statistics().pending} event(s) pending"
            for subscription, made_at in self._open()
        ]

    def _open(self) -> list[tuple[Subscription, str]]:
        return [(each, made_at) for each, made_at in self._made_at.items() if each.bindings]

    def close_from_outside(self) -> None:
        """Close it from where none of its loop's code runs: between two steps of a test runner.

        What is queued still is dropped, counted and told. A loop that is closed has done so.

        Raises:
            RuntimeError: this is within its loop, where ``aclose`` can be awaited.
            TimeoutError: its loop runs in another thread, and did not close it in 5 s.
        """
        loop = self.loop
        if loop is None or loop.is_closed():
            return
        if _running_loop() is loop:
            raise RuntimeError("this is within the loop of the bus: await bus.aclose()")
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(self.aclose(), loop).result(SECONDS_TO_CLOSE)
        else:
            loop.run_until_complete(self.aclose())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _caller() -> str:
    """Name the nearest line that is not of this package."""
    frame = inspect.currentframe()
    assert frame is not None  # CPython and PyPy have it
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}"
