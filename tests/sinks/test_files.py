"""Calls of the operating system."""

import asyncio
import os
import threading

import pytest

from edr.sinks.files import OPEN_FLAGS, PRIVATE, in_thread, is_at, lock, write_all


async def test_a_cancelled_call_is_raised_after_its_thread_has_ended():
    begun, end, ended = threading.Event(), threading.Event(), []

    def call():
        begun.set()
        end.wait()
        ended.append(True)

    job = asyncio.ensure_future(in_thread(call))
    await asyncio.to_thread(begun.wait)
    job.cancel()
    await asyncio.sleep(0)
    assert not job.done()
    end.set()
    with pytest.raises(asyncio.CancelledError):
        await job

    assert ended == [True]


async def test_a_call_can_be_told_of_its_cancellation():
    begun, end = threading.Event(), threading.Event()

    def call():
        begun.set()
        return end.wait(30)

    job = asyncio.ensure_future(in_thread(call, on_cancel=end.set))
    await asyncio.to_thread(begun.wait)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job

    assert end.is_set()


def test_all_is_written_even_in_pieces(tmp_path, monkeypatch):
    descriptor = os.open(tmp_path / "f", OPEN_FLAGS, PRIVATE)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    write_all(descriptor, b"0123456789")
    os.close(descriptor)

    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_file_is_locked_once(tmp_path):
    first, second = (os.open(tmp_path / "f", OPEN_FLAGS, PRIVATE) for _ in range(2))
    both = lock(first, wait=False), lock(second, wait=False)
    os.close(first)
    after = lock(second, wait=False)
    os.close(second)

    assert (both, after) == ((True, False), True)


def test_a_renamed_file_is_not_at_its_path(tmp_path):
    path = tmp_path / "f"
    descriptor = os.open(path, OPEN_FLAGS, PRIVATE)
    before = is_at(path, descriptor)
    path.rename(tmp_path / "g")
    missing = is_at(path, descriptor)
    path.touch()
    replaced = is_at(path, descriptor)
    os.close(descriptor)

    assert (before, missing, replaced) == (True, False, False)
