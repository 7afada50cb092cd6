"""The fixture ``edr_bus``. The plugin module ``pytest_edr`` imports this at first use.

The fixture is a plain function without a task, scope or loop of its own. So it works in any loop
that runs the test: of pytest-asyncio (strict and auto; a loop for each function, module or
session), of anyio's plugin, or of ``asyncio.run`` in the test. The bus belongs to the first loop
that uses it. A later loop gets another bus with the same recorder. At the end, the bus of a closed
loop is closed already; a loop that is only stopped runs once more to close its bus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edr.bus import configured_options, override_default_bus
from edr.testing.recording_bus import RecordingBus


@contextmanager
def _recorded_default_buses(**options: Any) -> Iterator[list[RecordingBus]]:
    """Replace the default buses by recording buses that share one recorder.

    Each loop gets its own bus: a test client may start a loop for each request.

    Args:
        options: those of ``Bus``.
    """
    buses = [RecordingBus(**options)]

    def successor() -> RecordingBus:
        buses.append(RecordingBus(recorder=buses[0].recorder, **options))
        return buses[-1]

    with override_default_bus(buses[0], successor=successor):
        yield buses


@contextmanager
def bus_of_test(
    options: Mapping[str, Any], has_failed: Callable[[], bool]
) -> Iterator[RecordingBus]:
    """Make a bus the default one, close it at the end, and fail if it has leaks.

    Args:
        options: those of ``Bus``, beside what ``edr.configure`` has set.
        has_failed: whether the test did; then its traceback holds what it had, and a leak tells
            nothing new.

    Raises:
        AssertionError: subscriptions are open still.
    """
    with _recorded_default_buses(**{**configured_options(), **options}) as buses:
        try:
            yield buses[0]
            leaks = [] if has_failed() else [leak for bus in buses for leak in bus.leaks()]
        finally:
            for bus in buses:
                bus.close_from_outside()
    if leaks:
        raise AssertionError(
            "\n  ".join(["the test left subscriptions of edr_bus open:", *leaks])
            + "\nend each with `async with edr.subscribe(...) as events:` or events.shutdown()"
        )
