import os
import socket
from pathlib import Path

import pytest

from edr.control import SocketPathError, find


@pytest.fixture
def listen(folder):
    listening = []

    def listen(name, backlog=5):
        each = socket.socket(socket.AF_UNIX)
        listening.append(each)
        each.bind(f"{folder}/{name}")
        each.listen(backlog)
        return each

    yield listen
    for each in listening:
        each.close()


def names_in(folder):
    return [each.name for each in Path(folder).iterdir()]


def test_each_process_is_found_by_name_and_pid(listen):
    listen("calls-api.12.sock")
    listen("calls-api.345.sock")
    listen("edr.77.sock")

    assert [(each.name, each.pid) for each in find()] == [
        ("calls-api", 12),
        ("calls-api", 345),
        ("edr", 77),
    ]
    assert [each.pid for each in find("calls-api")] == [12, 345]
    assert [each.pid for each in find("calls-api.345")] == [345]
    assert [each.name for each in find("77")] == ["edr"]
    assert find("calls") == []


def test_a_socket_without_a_process_is_removed(listen, folder):
    listen("edr.12.sock").close()

    assert find() == []
    assert names_in(folder) == []


def test_other_files_are_left_alone(listen, folder):
    for name in ("edr.12.sock", "notes", "edr.sock", ".sock", ".1.x"):
        Path(folder, name).touch()
    listen("other.sock").close()

    assert find() == []
    assert len(names_in(folder)) == 6


def test_a_socket_with_a_full_queue_is_listening(listen, folder):
    listen("edr.12.sock", backlog=0)
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(f"{folder}/edr.12.sock")

    assert len(find()) == 1
    for each in waiting:
        each.close()


def test_an_unready_socket_of_an_ended_process_is_removed(folder):
    ended = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(ended, 0)
    Path(folder, f".{ended}.0").touch()
    Path(folder, f".{os.getpid()}.0").touch()

    assert find() == []
    assert names_in(folder) == [f".{os.getpid()}.0"]


def test_without_a_runtime_folder_nothing_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("EDR_RUNTIME_DIR", str(tmp_path / "missing"))

    assert find() == []


def test_an_unsafe_runtime_folder_is_an_error(folder):
    Path(folder).chmod(0o777)

    with pytest.raises(SocketPathError):
        find()
