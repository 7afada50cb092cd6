"""The file sink."""

import asyncio
import gzip
import os

import pytest
from contracts.journal import event, events
from support.shuffled_loop import run

import edr
from edr.sinks import Encoder, FileSink, RefusedError, RejectError, RetryError, Rotate


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def numbers(path):
    return [edr.Event.from_json(line).body["n"] for line in path.read_bytes().splitlines()]


def all_numbers(path):
    lines = []
    older = [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.0")]
    for each in [*sorted(older), path]:
        data = each.read_bytes()
        lines += (gzip.decompress(data) if each.suffix == ".gz" else data).splitlines()
    return [edr.Event.from_json(line).body["n"] for line in lines]


async def test_events_are_lines(path):
    sink = FileSink(path)
    await sink.open()
    await sink.write(events(1, 2))
    await sink.write(events(3))
    await sink.aclose()

    assert numbers(path) == [1, 2, 3]


async def test_a_file_is_continued_after_a_restart(path):
    for n in range(3):
        sink = FileSink(path)
        await sink.open()
        await sink.write([event(n)])
        await sink.aclose()

    assert numbers(path) == [0, 1, 2]


async def test_a_truncated_file_is_reported_once(path, caplog):
    sink = FileSink(path)
    await sink.open()
    await sink.write(events(1))
    os.truncate(path, 0)
    await sink.write(events(2))
    await sink.write(events(3))
    await sink.aclose()

    assert numbers(path) == [2, 3]
    [record] = caplog.records
    assert "truncated by another program" in record.getMessage()


async def test_a_renamed_file_is_replaced_by_a_new_one(path):
    sink = FileSink(path)
    await sink.open()
    await sink.write(events(1))
    path.rename(path.with_name("old"))
    await sink.write(events(2))
    await sink.aclose()

    assert numbers(path.with_name("old")) == [1]
    assert numbers(path) == [2]


async def test_reopen_closes_a_renamed_file_at_once(path):
    sink = FileSink(path)
    await sink.open()
    path.unlink()
    await sink.reopen()
    assert sink._file is None
    await sink.write(events(1))
    await sink.aclose()

    assert numbers(path) == [1]


@pytest.mark.parametrize("kind", ["missing", "link", "folder"])
async def test_a_wrong_path_is_refused(tmp_path, kind):
    path = tmp_path / "it"
    if kind == "missing":
        path = path / "file"
    elif kind == "link":
        path.symlink_to(tmp_path / "other")
    else:
        path.mkdir()
    sink = FileSink(path)
    with pytest.raises(RefusedError, match=str(path)):
        await sink.open()
    await sink.aclose()


async def test_a_full_disk_is_tried_again(path, monkeypatch):
    sink = FileSink(path)
    await sink.open()

    def fail(fd, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(RetryError, match="No space left"):
            await sink.write(events(1))
    await sink.write(events(1))
    await sink.aclose()

    assert numbers(path) == [1]


async def test_a_batch_is_synced_before_write_returns(path, monkeypatch):
    """Mutant: acknowledge before the sync."""
    sink = FileSink(path, fsync="batch")
    await sink.open()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    await sink.write(events(1))
    size = path.stat().st_size

    assert synced == [size]
    await sink.aclose()


def test_a_file_is_synced_after_a_second(path, monkeypatch):
    async def scenario():
        sink = FileSink(path, fsync="1s")
        await sink.open()
        synced = []
        monkeypatch.setattr(os, "fsync", synced.append)
        for n in range(10):
            await sink.write(events(n))
            await asyncio.sleep(0.05)
        early = len(synced)
        await asyncio.sleep(10)
        late = len(synced)
        await sink.aclose()
        return early, late, len(synced)

    assert run(scenario) == (0, 1, 2)


async def test_a_file_is_never_synced_if_that_is_the_option(path, monkeypatch):
    sink = FileSink(path, fsync="never")
    await sink.open()
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    await sink.write(events(1))
    await sink.aclose()

    assert synced == []


async def test_each_line_exists_once_over_rotations(path):
    sink = FileSink(path, rotate=Rotate(size=2000, keep=1000), fsync="never")
    await sink.open()
    for n in range(0, 200, 4):
        await sink.write(events(*range(n, n + 4)))
    await sink.aclose()
    again = FileSink(path, rotate=Rotate(size=2000, keep=1000))
    await again.open()
    await asyncio.wait({again._tidying})
    await again.aclose()

    assert all_numbers(path) == list(range(200))
    assert any(each.suffix == ".gz" for each in path.parent.iterdir())


async def test_a_batch_is_not_split_by_a_rotation(path):
    sink = FileSink(path, rotate=Rotate(size=10, keep=100, compress=False))
    await sink.open()
    await sink.write(events(1, 2, 3))
    await sink.write(events(4))
    await sink.aclose()

    assert numbers(path.with_name("events.jsonl.000001")) == [1, 2, 3]
    assert numbers(path) == [4]


async def test_a_cancelled_write_ends_whole(path):
    sink = FileSink(path)
    await sink.open()
    writing = asyncio.ensure_future(sink.write(events(*range(100))))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait({writing})
    await sink.aclose()

    assert numbers(path) in ([], list(range(100)))


async def test_events_that_cannot_be_encoded_are_named(path):
    def encode(batch):
        raise RejectError({0: "no"})

    sink = FileSink(path, encode=encode)
    await sink.open()
    with pytest.raises(RejectError, match="no"):
        await sink.write(events(1))
    await sink.aclose()


async def test_other_forms_are_lines_too(path):
    sink = FileSink(path, encode=Encoder("logfmt"))
    await sink.open()
    await sink.write(events(1, 2))
    await sink.aclose()

    assert path.read_bytes().count(b"\n") == 2


def test_an_unknown_fsync_is_refused(path):
    with pytest.raises(ValueError, match="fsync must be batch"):
        FileSink(path, fsync="always")
