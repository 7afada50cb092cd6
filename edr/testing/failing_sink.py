"""``FailingSink``: a callback that fails a given number of times, for tests of error handling.

Example::

    import asyncio
    import edr, edr.testing

    async def main():
        async with edr.Bus() as bus:
            sink = edr.testing.FailingSink(failures=2)
            bus.bind(edr.Binding(), sink, name="sink", retries=3, backoff=0)
            await bus.emit("acdc", "1", "ok", "info", {"n": 1})
            await bus.join()
            assert (sink.calls, len(sink.events)) == (3, 1)

    asyncio.run(main())
"""

from __future__ import annotations

from typing import Any

from edr.records import Event


class FailingSink:
    """Raise ``error`` in the first ``failures`` calls, and handle the events of all others.

    ``failures`` may be set at any time: to ``math.inf`` for a sink that is down from now on, to 0
    for one that is back.

    Args:
        failures: calls that fail.
        error: what they raise.
    """

    def __init__(self, failures: float = 1, error: Exception | None = None) -> None:
        self.failures: float = failures
        self.error: Exception = OSError("the sink is down") if error is None else error
        self.calls: int = 0
        self.events: list[Event] = []
        """The events that it has handled, in order."""

    async def __call__(self, event: Event, *_payload: Any) -> None:
        """Raise ``error``, or record the event."""
        self.calls += 1
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        self.events.append(event)

    def __repr__(self) -> str:
        return f"<FailingSink: {len(self.events)} handled in {self.calls} calls>"
