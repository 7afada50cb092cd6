"""``Checkpoints``: one at a time, after a loss or an ack."""

import asyncio

import pytest
from support.consuming import ticks

from edr.links.stream_checkpoints import Checkpoints


class Server:
    def __init__(self):
        self.written = []
        self.answer = asyncio.Event()
        self.is_lost = False

    async def write(self, floor, missed):
        await self.answer.wait()
        if self.is_lost:
            raise ConnectionError("lost")
        self.written.append((floor, missed))


@pytest.fixture
async def server():
    return Server()


@pytest.fixture
async def checkpoints(server):
    checkpoints = Checkpoints(server.write)
    yield checkpoints
    await checkpoints.stop()


async def test_checkpoint_is_written_once_for_an_ack_floor(checkpoints, server):
    server.answer.set()
    for _ in range(2):
        checkpoints.begin(5, 0)
        await ticks()

    assert server.written == [(5, 0)]
    assert checkpoints.at == 5


async def test_loss_is_written_without_an_ack(checkpoints, server):
    server.answer.set()
    checkpoints.begin(0, 3)
    await ticks()
    assert server.written == []
    checkpoints.is_due = True
    checkpoints.begin(0, 3)
    await ticks()

    assert server.written == [(0, 3)]
    assert not checkpoints.is_due


async def test_one_checkpoint_is_written_at_a_time(checkpoints, server):
    checkpoints.begin(5, 0)
    await ticks()
    checkpoints.begin(6, 0)
    server.answer.set()
    await ticks()

    assert server.written == [(5, 0)]


async def test_checkpoint_is_tried_again_after_a_lost_connection(checkpoints, server):
    server.answer.set()
    server.is_lost = True
    checkpoints.begin(5, 0)
    await ticks()
    server.is_lost = False
    assert checkpoints.at == 0
    checkpoints.begin(5, 0)
    await ticks()

    assert checkpoints.at == 5
