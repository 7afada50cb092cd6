import asyncio
from types import SimpleNamespace

import orjson
import pytest
from support.consuming import until
from support.sources import SocketPeers, line, lines

from edr.sources.answers import Answer
from edr.sources.conversation import Conversation
from edr.sources.lines import MAX_LINE
from edr.sources.source import Counts


@pytest.fixture(autouse=True)
def short_linger(monkeypatch):
    monkeypatch.setattr("edr.sources.unix_socket.LINGER", 0.01)


async def connected(ingest, folder):
    peers = SocketPeers(ingest, folder)
    return peers, await peers.start()


async def closed(peers, peer):
    await peer.aclose()
    await peers.source.aclose()


async def test_blank_line_is_answered_and_numbers_begin_again(ingest, folder):
    peers, peer = await connected(ingest, folder)
    peer.send(lines(1, 2) + b"\n")
    assert await peer.answer() == {"accepted": 2, "refused": []}
    peer.send(b"{\n \r\n")
    assert [each["line"] for each in (await peer.answer())["refused"]] == [1]
    peer.send(lines(3))

    assert await peer.end() == {"accepted": 1, "refused": []}
    assert await peer.rest() == b""
    await closed(peers, peer)


async def test_blank_lines_of_one_read_are_answered_each(ingest, folder, journal):
    peers, peer = await connected(ingest, folder)
    peer.send(lines(1) + b"\n" + lines(2, 3) + b"\n\n")

    assert [(await peer.answer())["accepted"] for _ in range(3)] == [1, 2, 0]
    peer.writer.write_eof()
    assert await peer.rest() == b""  # nothing has come after the last answer
    await closed(peers, peer)


async def test_empty_input_is_answered(ingest, folder):
    peers, peer = await connected(ingest, folder)

    assert await peer.end() == {"accepted": 0, "refused": []}
    await closed(peers, peer)


async def test_last_line_needs_no_end(ingest, folder, journal):
    peers, peer = await connected(ingest, folder)
    peer.send(lines(1) + line(2).rstrip())

    assert (await peer.end())["accepted"] == 2
    await closed(peers, peer)


async def test_long_line_is_refused_with_its_number(ingest, folder, journal):
    peers, peer = await connected(ingest, folder)
    peer.send(lines(1) + b"x" * (MAX_LINE + 1) + b"\n" + lines(3))
    answer = await peer.end()

    assert answer["accepted"] == 2
    assert answer["refused"] == [
        {"line": 2, "path": "", "reason": "a line must have at most 1,048,576 bytes"}
    ]
    await closed(peers, peer)


async def test_failed_journal_is_answered_and_ends_the_connection(ingest, folder, journal):
    peers, peer = await connected(ingest, folder)
    peer.send(lines(1, 2) + b"\n")
    await peer.answer()
    journal.hold()
    peer.send(lines(3) + b"\n" + lines(4))
    await until(lambda: len(journal.accepted) == 2)
    journal.fail("disk full")
    first, second, rest = (await peer.rest()).split(b"\n")

    assert [orjson.loads(each)["not_stored"]["line"] for each in (first, second)] == [1, 1]
    assert rest == b""
    assert peers.source.statistics().failed == 1
    await closed(peers, peer)


async def test_closed_journal_ends_the_connection(ingest, folder, journal):
    journal.is_closed = True
    peers, peer = await connected(ingest, folder)

    assert await peer.answer() == {
        "accepted": 0,
        "refused": [],
        "not_stored": {"line": 1, "reason": "the journal is closed"},
    }
    assert await peer.rest() == b""
    await closed(peers, peer)


class ReadyReader:
    """A reader that has its bytes already."""

    is_stopped = False

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    async def read(self, size):
        return self._pieces.pop(0)


async def test_time_without_room_in_the_journal_is_not_idle(ingest, journal):
    limited = SimpleNamespace(ready=lambda: asyncio.sleep(0.01), store=ingest.store)
    answers = asyncio.Queue()
    reader = ReadyReader(lines(1), b"")
    counts = Counts("in", ingest)
    conversation = Conversation(limited, reader, answers.put, counts, idle_timeout=0.001)

    assert await conversation.run()
    assert answers.get_nowait() == Answer(accepted=1)
