"""``capture``: what the fixture of pytest does, as a context manager for any other place.

Example::

    import unittest
    import edr, edr.testing

    async def pause():
        await edr.emit("acdc", "1", "ok", "info", {"status": "paused"})

    class PauseTest(unittest.IsolatedAsyncioTestCase):
        async def test_pause(self):
            with edr.testing.capture() as captured:
                await pause()
            captured.assert_emitted(app_name="acdc", body={"status": ["paused"]}, times=1)

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(PauseTest)
    assert suite.run(unittest.TestResult()).wasSuccessful()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from edr.bus import Bus, observe_default_buses, parts_of
from edr.testing.recorder import Recorder
from edr.testing.recording_bus import EVERYTHING


@contextmanager
def capture(bus: Bus | None = None) -> Iterator[Recorder]:
    """Record the events that are emitted until the end of the block.

    It only listens: the subscribers of the bus receive the same events as without it. It may be
    called from any thread, such as that of a test whose application runs in another one.

    Args:
        bus: The bus to record. By default all default buses: those of the loops that run now, in
            this thread and in others, and those of loops that start inside the block.

    Raises:
        TimeoutError: A bus belongs to a loop in another thread, which did not answer in 5 s.
    """
    recorder = Recorder()
    buses: list[Bus] = []

    def record(each: Bus) -> None:
        each.add_tap(recorder, EVERYTHING)
        buses.append(each)

    try:
        if bus is None:
            with observe_default_buses(record):
                yield recorder
        else:
            parts_of(bus).guard.call(partial(record, bus))
            yield recorder
    finally:
        for each in buses:
            with suppress(RuntimeError):  # its loop was closed just now
                parts_of(each).guard.call(partial(each.remove_tap, recorder))
