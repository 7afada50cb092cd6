import asyncio
import os
import sys

from edr.cli.stdout_closed import on_stdout_closed


async def test_end_of_the_reader_is_noticed(monkeypatch):
    reading, writing = os.pipe()
    closed = asyncio.Event()
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with on_stdout_closed(closed.set):
            await asyncio.sleep(0)
            assert not closed.is_set()
            os.close(reading)
            await closed.wait()


async def test_file_has_no_reader(monkeypatch, tmp_path):
    closed = asyncio.Event()
    with os.fdopen(os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY), "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with on_stdout_closed(closed.set):
            await asyncio.sleep(0)

    assert not closed.is_set()


async def test_stream_without_a_file_has_no_reader(capsys):
    with on_stdout_closed(lambda: None):
        await asyncio.sleep(0)
