"""The sink of standard output."""

import asyncio
import os
from contextlib import suppress

import pytest
from contracts.journal import events

import edr
from edr.sinks import RetryError, StdoutSink


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):
            os.close(descriptor)


def numbers(data):
    return [edr.Event.from_json(line).body["n"] for line in data.splitlines()]


async def test_events_are_lines(pipe):
    sink = StdoutSink(descriptor=pipe[1])
    await sink.open()
    await sink.write(events(1, 2))
    await sink.aclose()

    assert numbers(os.read(pipe[0], 100_000)) == [1, 2]


async def test_a_reader_that_is_gone_is_a_slow_retry(pipe):
    os.close(pipe[0])
    with pytest.raises(RetryError) as caught:
        await StdoutSink(descriptor=pipe[1]).write(events(1))

    assert caught.value.slow


async def test_a_blocked_write_can_be_cancelled_and_repeated(pipe):
    sink = StdoutSink(descriptor=pipe[1])
    batch = events(*range(1000))  # more than a pipe takes
    writing = asyncio.ensure_future(sink.write(batch))
    await asyncio.sleep(0.05)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    received = bytearray()

    def read():
        while b'"n":999' not in received or not received.endswith(b"\n"):
            received.extend(os.read(pipe[0], 100_000))

    await asyncio.gather(asyncio.to_thread(read), sink.write(batch))
    whole = bytes(received).splitlines()[-1000:]

    assert numbers(b"\n".join(whole)) == list(range(1000))
