"""The older files of a file sink: each line in one file, whatever happens."""

import gzip
import os
import threading
from pathlib import Path

import pytest

from edr.sinks import Rotate
from edr.sinks.files import OPEN_FLAGS, PRIVATE, lock
from edr.sinks.rotation import Rotation

GO_ON = threading.Event()


class CrashError(BaseException):
    """The end of the process: no handler of ``OSError`` sees it."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def rotation(path, **options):
    return Rotation(path, Rotate(**{"keep": 100, **options}))


def lines_of(rotated, path):
    """Return all lines of the older files and the present one, oldest first."""
    lines = []
    for each in [*rotated.files(), *([path] if path.exists() else [])]:
        data = each.read_bytes()
        lines += (gzip.decompress(data) if each.suffix == ".gz" else data).split()
    return [int(line) for line in lines]


def write(path, *numbers):
    path.write_bytes(b"".join(b"%d\n" % n for n in numbers))


def test_numbers_rise_and_order_the_files(path):
    rotated = rotation(path, compress=False)
    for n in range(12):
        write(path, n)
        rotated.rename()

    assert [each.name for each in rotated.files()][::11] == [
        "events.jsonl.000001",
        "events.jsonl.000012",
    ]
    assert lines_of(rotated, path) == list(range(12))


def test_older_files_are_compressed_and_private(path):
    rotated = rotation(path)
    write(path, 1, 2)
    rotated.rename()
    rotated.tidy(GO_ON)
    (compressed,) = rotated.files()

    assert compressed.name == "events.jsonl.000001.gz"
    assert compressed.stat().st_mode & 0o777 == 0o600
    assert lines_of(rotated, path) == [1, 2]
    assert len(list(path.parent.iterdir())) == 1


def test_the_oldest_are_removed(path):
    rotated = rotation(path, keep=3)
    for n in range(10):
        write(path, n)
        rotated.rename()
        rotated.tidy(GO_ON)

    assert lines_of(rotated, path) == [7, 8, 9]


def test_numbers_go_on_after_the_oldest_are_removed(path):
    rotated = rotation(path, keep=1)
    for n in range(5):
        write(path, n)
        rotated.rename()
        rotated.tidy(GO_ON)

    assert [each.name for each in rotated.files()] == ["events.jsonl.000005.gz"]


def test_other_files_in_the_folder_are_not_touched(path):
    others = ["events.jsonl.gz", "events.jsonl.bak", "events.jsonl.1", "x.000001", "events.jsonl2"]
    for name in others:
        path.with_name(name).touch()
    rotated = rotation(path, keep=1)
    for n in range(3):
        write(path, n)
        rotated.rename()
        rotated.tidy(GO_ON)

    assert {each.name for each in path.parent.iterdir()} > set(others)


def test_a_stopped_compression_leaves_the_original(path):
    rotated = rotation(path)
    write(path, 1)
    rotated.rename()
    stopped = threading.Event()
    stopped.set()
    rotated.tidy(stopped)

    assert [each.name for each in path.parent.iterdir()] == ["events.jsonl.000001"]


def test_a_file_that_another_one_compresses_is_left_to_it(path):
    rotated = rotation(path)
    write(path, 1)
    rotated.rename()
    temporary = path.with_name("events.jsonl.000001.gz.tmp")
    descriptor = os.open(temporary, OPEN_FLAGS, PRIVATE)
    lock(descriptor, wait=False)
    rotated.tidy(GO_ON)
    before = temporary.exists(), lines_of(rotated, path)
    os.close(descriptor)
    rotated.tidy(GO_ON)

    assert before == (True, [1])
    assert not temporary.exists()
    assert lines_of(rotated, path) == [1]


STEPS = 6
"""Changes of the disk by one rotation."""


@pytest.mark.parametrize("crash_at", range(STEPS + 1))
def test_each_line_exists_once_after_a_crash_at_any_step(path, monkeypatch, crash_at):
    rotated = rotation(path)
    steps = 0

    def crashing(call):
        def step(*args, **options):
            nonlocal steps
            if steps == crash_at:
                raise CrashError
            steps += 1
            return call(*args, **options)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crashing(Path.rename))
        patch.setattr(Path, "unlink", crashing(Path.unlink))
        patch.setattr(os, "fsync", crashing(os.fsync))
        patch.setattr(gzip.GzipFile, "write", crashing(gzip.GzipFile.write))
        try:
            write(path, 1, 2)
            rotated.rename()
            rotated.tidy(GO_ON)
            crashed = False
        except CrashError:
            crashed = True
    assert lines_of(rotated, path) == [1, 2]
    again = rotation(path)
    again.tidy(GO_ON)

    assert crashed == (crash_at < STEPS)
    assert lines_of(again, path) == [1, 2]
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("fields", [{"size": 0}, {"keep": 0}, {"keep": True}, {"compress": 1}])
def test_an_invalid_option_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Rotate(**fields)
