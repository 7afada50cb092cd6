"""The calls of a sink: time limits, cancellations, closing."""

import asyncio
import logging

import pytest
from support.shuffled_loop import run
from support.sinks import MemorySink

from edr.delivery import FaultLog
from edr.sinks import Retry, RetryError
from edr.sinks.alerts import Alerts
from edr.sinks.guarded_sink import GuardedSink
from edr.sinks.health import Health


def guarded(sink, timeout=30.0):
    log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))
    alerts = Alerts(None, "sink", "s", log)
    return GuardedSink(sink, timeout, Health(Retry(), alerts, log), log)


class HangingSink(MemorySink):
    """Hangs in each call."""

    async def _hang(self, *_):
        await asyncio.Event().wait()

    open = write = aclose = _hang


def test_an_open_sink_is_open_until_it_is_closed():
    async def scenario():
        sink = guarded(MemorySink())
        seen = [sink.is_open]
        await sink.open()
        seen.append(sink.is_open)
        await sink.aclose()
        return [*seen, sink.is_open]

    assert run(scenario) == [False, True, False]


def test_a_sink_that_cannot_be_opened_is_closed():
    async def scenario():
        sink = MemorySink(open_faults=[OSError("no")])
        with pytest.raises(OSError, match="no"):
            await guarded(sink).open()
        return sink.closed

    assert run(scenario) == 1


def test_a_write_that_hangs_is_a_retry_error():
    async def scenario():
        with pytest.raises(RetryError, match="no answer within 7 s"):
            await guarded(HangingSink(), 7.0).write([])
        return asyncio.get_running_loop().time()

    assert run(scenario) == pytest.approx(7.0)


def test_a_cancellation_of_the_sink_is_a_retry_error():
    async def scenario():
        with pytest.raises(RetryError, match="CancelledError"):
            await guarded(MemorySink(asyncio.CancelledError())).write([])

    run(scenario)


def test_a_cancellation_that_the_sink_swallowed_is_raised():
    class Deaf(HangingSink):
        async def write(self, batch):
            try:
                await self._hang()
            except asyncio.CancelledError:
                return

    async def scenario():
        writing = asyncio.ensure_future(guarded(Deaf()).write([]))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait({writing})
        return writing.cancelled()

    assert run(scenario)


def test_a_close_that_hangs_is_left_and_logged(caplog):
    async def scenario():
        await guarded(HangingSink()).aclose()
        return asyncio.get_running_loop().time()

    assert run(scenario) == pytest.approx(2.0)
    assert "did not close within 2 s" in caplog.text


def test_a_close_that_fails_is_logged(caplog):
    class Broken(MemorySink):
        async def aclose(self):
            raise SystemExit(3)

    async def scenario():
        await guarded(Broken()).aclose()

    run(scenario)
    assert "could not close: SystemExit: 3" in caplog.text
