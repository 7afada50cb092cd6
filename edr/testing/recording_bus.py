"""``RecordingBus``: a bus for tests. It checks everything, records everything, and names leaks.

A subscription that outlives its test affects the next one: it takes events that are not meant for
it, or its full queue delays emitters. The failure then shows in the wrong test. So the bus records
the line that made each subscription, and reports at the end which are still open.

Not reported: callbacks, because they end with the bus; subscriptions without a reference, because
the bus removes them; and subscriptions of a loop that has ended, because that end reports the
unprocessed events.

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
"""Limit for closing a bus whose loop runs in another thread, such as a test client's."""


class RecordingBus(Bus):
    """A ``Bus`` that records its events and remembers where its subscriptions were made.

    Args:
        recorder: the recorder; by default a new one.
        options: options of ``Bus``; ``debug`` is on by default.
    """

    def __init__(self, *, recorder: Recorder | None = None, **options: Any) -> None:
        super().__init__(**{"debug": True, **options})
        self.recorder: Recorder = recorder or Recorder()
        self._is_binding = False
        self._made_at: weakref.WeakKeyDictionary[Subscription, str] = weakref.WeakKeyDictionary()
        self.add_tap(self.recorder, EVERYTHING)

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
        """Return a line for each open subscription: its name, its origin, its pending events."""
        if self._open():
            gc.collect()  # a subscription that only a reference cycle holds is not a leak
        return [
            f"subscription {subscription.name!r}, made in {made_at}; "
            f"{subscription.statistics().pending} event(s) pending"
            for subscription, made_at in self._open()
        ]

    def _open(self) -> list[tuple[Subscription, str]]:
        return [(each, made_at) for each, made_at in self._made_at.items() if each.bindings]

    def close_from_outside(self) -> None:
        """Close the bus from outside its loop, such as between two steps of a test runner.

        Queued events are dropped, counted and logged. Does nothing if the loop is closed.

        Raises:
            RuntimeError: called within its loop, where ``aclose`` can be awaited.
            TimeoutError: its loop runs in another thread and did not close the bus in 5 s.
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
    """Return the nearest caller outside this package."""
    frame = inspect.currentframe()
    assert frame is not None  # CPython and PyPy have it
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_qualname}, {code.co_filename}:{frame.f_lineno}"
