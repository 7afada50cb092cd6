import os

import orjson
import pytest
from support.consuming import until
from support.sources import StdinPeers, lines

from edr.sources import StdinSource


async def test_file_is_read_and_answered_on_stderr(ingest, journal, tmp_path, capsys):
    (tmp_path / "lines").write_bytes(lines(1) + b"\n{\n" + lines(4))
    with open(tmp_path / "lines", "rb") as file:  # noqa: PTH123, ASYNC230
        source = StdinSource("stdin", ingest, descriptor=file.fileno())
        await source.start()
        await source.wait_ended()
    answer = orjson.loads(capsys.readouterr().err)

    assert answer["accepted"] == 2
    assert [each["line"] for each in answer["refused"]] == [3]  # a blank line has a number too
    assert source.statistics().state == "ended"
    await source.drain()


async def test_events_are_published_again_until_they_are_stored(
    ingest, journal, tmp_path, monkeypatch
):
    monkeypatch.setattr("edr.sources.ingest.RECHECK", 0)
    peers = StdinPeers(ingest, tmp_path)
    peer = await peers.start()
    journal.hold()
    peer.send(lines(1))
    await until(lambda: journal.accepted)
    journal.fail("disk full")
    journal.release()
    journal.error = None

    assert await peer.end() == {"accepted": 1, "refused": []}
    assert journal.numbers == [1]
    await peers.source.aclose()
    await peer.aclose()


async def test_stop_ends_the_attempts(ingest, journal, tmp_path):
    peers = StdinPeers(ingest, tmp_path)
    peer = await peers.start()
    journal.hold()
    peer.send(lines(1))
    await until(lambda: journal.accepted)
    journal.fail("disk full")
    await peers.source.drain()

    assert (await peer.answer())["not_stored"] == {"line": 1, "reason": "disk full"}
    await peer.aclose()


async def test_input_that_cannot_be_read_is_logged(ingest, tmp_path, caplog):
    folder = os.open(tmp_path, os.O_RDONLY)
    source = StdinSource("stdin", ingest, descriptor=folder)
    await source.start()
    await source.wait_ended()
    os.close(folder)

    assert "source 'stdin' could not read its input" in caplog.text
    assert source.statistics().state == "ended"
    await source.aclose()


async def test_closed_descriptor_is_an_error_of_start(ingest):
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="descriptor"):
        await StdinSource("stdin", ingest, descriptor=reading).start()


async def test_without_stderr_the_answer_is_dropped(ingest, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with open("/dev/null", "rb") as file:  # noqa: PTH123, ASYNC230
        source = StdinSource("stdin", ingest, descriptor=file.fileno())
        await source.start()
        await source.wait_ended()

    assert source.statistics().last_error is None
    await source.aclose()
