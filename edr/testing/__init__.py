"""For the tests of services that use edr: record, assert, replace the default bus, shuffle a loop.

With pytest there is nothing to import. The plugin, which is installed with edr, has a fixture::

    async def test_pause(edr_bus):
        await agents.pause("a1")
        await edr_bus.join()
        edr_bus.assert_emitted(app_name="acdc", severity="warning", body={"status": ["paused"]})

``edr_bus`` is the default bus of this test, a ``RecordingBus``; loops that run one after the other,
as those of a test client, have one each and are recorded together. A fixture of your own named
``edr_bus_options`` returns the arguments of ``Bus`` for it. ``-p no:pytest_edr`` takes the plugin
away. Without pytest the same is said so.

Example::

    import asyncio
    import edr, edr.testing

    async def pause():
        await edr.emit("acdc", "1", "ok", "info", {"status": "paused"})

    with edr.testing.capture() as captured:
        asyncio.run(pause())
    captured.assert_emitted(app_name="acdc", body={"status": ["paused"]}, times=1)

Promises:

* A recorder sees every event that the bus accepts, in the order of its emits, in the call that
  emits it; and it changes nothing: no count, no interest, no wait.
* During ``override_default_bus`` the module's functions, and what ``@edr.on`` bound at import,
  serve that bus, whatever the loop; at the end all is as it was before.
* A subscription of ``edr_bus`` that is open when its test has passed, fails it, by its name and the
  line where it was made.
* No fixture keeps a task, a scope or a loop; what is undone at the end is dropped and told.
* ``run`` runs a coroutine in virtual time, in an order that its seed draws, and the same each time.

Read the modules in this order; each imports only from those before it:
shuffled_loop, recorder, recording_bus, capture, plugin.
"""

from edr.bus import override_default_bus
from edr.testing.capture import capture
from edr.testing.recorder import Recorder
from edr.testing.recording_bus import RecordingBus
from edr.testing.shuffled_loop import LoopDeadlockError, ShuffledLoop, run

__all__ = [
    "LoopDeadlockError",
    "Recorder",
    "RecordingBus",
    "ShuffledLoop",
    "capture",
    "override_default_bus",
    "run",
]
