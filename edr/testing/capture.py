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

from edr.bus import Bus, default_bus, override_default_bus
from edr.errors import WrongLoopError
from edr.testing.recorder import Recorder
from edr.testing.recording_bus import EVERYTHING, RecordingBus


@contextmanager
def capture(bus: Bus | None = None) -> Iterator[Recorder]:
    """Record what is emitted until the end of the block.

    Args:
        bus: whose events; by default those of the default bus. Outside of a loop, that of the
            loop that will run inside the block.
    """
    if bus is None:
        try:
            bus = default_bus()
        except WrongLoopError:  # no loop yet
            recording = RecordingBus()
            with override_default_bus(recording):
                yield recording.recorder
            return
    recorder = Recorder()
    bus.attach(recorder, EVERYTHING)
    try:
        yield recorder
    finally:
        bus.detach(recorder)
