import asyncio
import os
import socket

import pytest
from support.consuming import ticks

from edr.sources.reading import InputReader


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


async def test_pipe_is_read_until_its_end(pipe):
    reading, writing = pipe
    reader = InputReader(reading)
    waiting = asyncio.ensure_future(reader.read(100))
    await ticks()
    assert not waiting.done()
    os.write(writing, b"abc")

    assert await waiting == b"abc"
    os.close(writing)
    assert await reader.read(100) == b""


async def test_read_returns_at_most_its_size(pipe):
    reader = InputReader(pipe[0])
    os.write(pipe[1], b"abc")

    assert [await reader.read(2), await reader.read(2)] == [b"ab", b"c"]


async def test_regular_file_and_device_are_read(tmp_path):
    (tmp_path / "lines").write_bytes(b"abc")
    for path, data in ((tmp_path / "lines", b"abc"), ("/dev/null", b"")):
        with open(path, "rb") as file:  # noqa: PTH123, ASYNC230
            reader = InputReader(file.fileno())
            assert await reader.read(100) == data
            assert await reader.read(100) == b""


async def test_socket_without_blocking_is_read():
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        waiting = asyncio.ensure_future(InputReader(one.fileno()).read(100))
        await ticks()
        other.send(b"abc")

        assert await waiting == b"abc"


async def test_stop_ends_a_read_and_leaves_the_bytes(pipe):
    reader = InputReader(pipe[0])
    waiting = asyncio.ensure_future(reader.read(100))
    await ticks()
    os.write(pipe[1], b"abc")
    reader.stop()

    assert await waiting == b""
    assert await reader.read(100) == b""
    assert os.read(pipe[0], 100) == b"abc"


async def test_cancelled_read_loses_nothing(pipe):
    reader = InputReader(pipe[0])
    waiting = asyncio.ensure_future(reader.read(100))
    await ticks()
    os.write(pipe[1], b"abc")
    waiting.cancel()
    await ticks()

    assert waiting.cancelled()
    assert await reader.read(100) == b"abc"
