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
from contextlib import contextmanager
from typing import Any

from edr.bus import Bus, default_bus, override_default_bus
from edr.errors import WrongLoopError
from edr.testing.recorder import Recorder
from edr.testing.recording_bus import EVERYTHING, RecordingBus


@contextmanager
def recorded_default_buses(**options: Any) -> Iterator[list[RecordingBus]]:
    """Let the default buses be ones that share a recorder, one after the other.

    Loops that run one after the other have one each: a test client may make one a request.

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
def capture(bus: Bus | None = None) -> Iterator[Recorder]:
    """Record what is emitted until the end of the block.

    Args:
        bus: whose events; by default those of the default bus. Outside of a loop, those of the
            loops that will run inside the block, one after the other.
    """
    if bus is None:
        try:
            bus = default_bus()
        except WrongLoopError:  # no loop yet
            with recorded_default_buses() as buses:
                yield buses[0].recorder
            return
    recorder = Recorder()
    bus.add_tap(recorder, EVERYTHING)
    try:
        yield recorder
    finally:
        bus.remove_tap(recorder)
