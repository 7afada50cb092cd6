import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest
from support.forking import fork

from edr._sockets.listener import MAX_PATH, Listener
from edr.errors import SocketPathError


@pytest.fixture
def path(folder):
    return Path(folder, "x.1.sock")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(str(path)) == 0


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_mode_is_exact_under_any_umask(path, umask, mode):
    before = os.umask(umask)
    try:
        listener = Listener(path, mode)
    finally:
        after = os.umask(before)

    assert mode_of(path) == mode
    assert after == umask
    listener.close()


def test_the_mode_is_never_wider_than_wanted(path, monkeypatch):
    seen = []
    bind = socket.socket.bind

    class Watched(socket.socket):
        def bind(self, address):
            bind(self, address)
            seen.append(mode_of(Path(address)))

    monkeypatch.setattr(socket, "socket", Watched)
    before = os.umask(0)
    try:
        Listener(path, 0o600).close()
    finally:
        os.umask(before)

    assert seen == [0o600]


def test_a_socket_accepts_connections_when_it_appears(path, monkeypatch):
    rename, states = Path.rename, []

    def watched(self, target):
        states.append((can_connect(self), target.exists()))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    listener = Listener(path, 0o600)

    assert states == [(True, False)]
    assert can_connect(path)
    listener.close()
    assert not path.exists()


def test_a_socket_without_a_process_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))
    listener = Listener(path, 0o600)

    assert can_connect(path)
    listener.close()


def test_a_socket_with_a_process_is_not_replaced(path):
    first = Listener(path, 0o600)
    with pytest.raises(SocketPathError, match="use another name"):
        Listener(path, 0o600)

    assert can_connect(path)
    first.close()


def test_another_file_is_not_replaced(path):
    path.write_text("notes")
    with pytest.raises(SocketPathError, match="another file"):
        Listener(path, 0o600)

    assert path.read_text() == "notes"


def test_a_link_is_not_followed(path, folder):
    path.symlink_to(Path(folder, "elsewhere"))
    with pytest.raises(SocketPathError, match="another file"):
        Listener(path, 0o600)

    assert not Path(folder, "elsewhere").exists()


def test_closing_leaves_a_socket_that_took_the_place(path):
    first = Listener(path, 0o600)
    path.unlink()
    second = Listener(path, 0o600)
    first.close()

    assert can_connect(path)
    second.close()


def test_a_path_that_is_too_long_is_an_error(folder):
    path = Path(folder, "x" * (MAX_PATH - len(folder)))

    with pytest.raises(SocketPathError, match=f"at most {MAX_PATH} bytes, got {MAX_PATH + 1}"):
        Listener(path, 0o600)


def test_the_longest_path_can_be_bound(folder):
    path = Path(folder, "x" * (MAX_PATH - len(folder) - 1))
    listener = Listener(path, 0o600)

    assert can_connect(path)
    listener.close()


def test_a_folder_that_is_missing_is_an_error(folder):
    with pytest.raises(SocketPathError, match="cannot be bound"):
        Listener(Path(folder, "missing", "x.sock"), 0o600)

    assert list(Path(folder).iterdir()) == []


def test_a_forked_child_neither_accepts_nor_removes(path):
    listener = Listener(path, 0o600)
    ready, child_ready = os.pipe()
    child_waits, end = os.pipe()
    child = fork()
    if not child:
        os.write(child_ready, b"x")
        os.read(child_waits, 1)
        listener.close()
        os._exit(0)
    os.read(ready, 1)
    accepts = can_connect(path)
    listener.socket.close()  # as if the parent had ended, without its clean-up
    child_accepts = can_connect(path)
    os.write(end, b"x")
    os.waitpid(child, 0)
    is_there = path.exists()
    for each in (ready, child_ready, child_waits, end):
        os.close(each)
    listener.close()

    assert (accepts, child_accepts, is_there) == (True, False, True)


async def test_each_connection_is_accepted(path):
    listener = Listener(path, 0o600)
    accepting = asyncio.ensure_future(listener.accept())
    await asyncio.sleep(0)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for each in (first, second):
            each.connect(str(path))
        accepted = [await accepting, await listener.accept()]
        for each in accepted:
            assert not each.getblocking()
            each.close()
    listener.close()


async def test_a_connection_in_the_turn_of_a_cancellation_is_not_lost(path):
    faults = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    listener = Listener(path, 0o600)
    accepting = asyncio.ensure_future(listener.accept())
    await asyncio.sleep(0)
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
        loop.call_soon(accepting.cancel)  # before the loop reports that the socket is readable
        await asyncio.wait([accepting])
        accepted = await listener.accept()
        accepted.close()
    listener.close()

    assert accepting.cancelled()
    assert faults == []
