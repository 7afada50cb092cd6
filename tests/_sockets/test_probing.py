import socket
from pathlib import Path

from edr._sockets import is_listening


def test_a_missing_file_is_not_listening(folder):
    assert not is_listening(Path(folder, "x"))


def test_another_file_is_not_listening_and_stays(folder):
    path = Path(folder, "x")
    path.touch()

    assert not is_listening(path)
    assert path.exists()


def test_a_socket_without_a_process_is_removed(folder):
    path = Path(folder, "x")
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))

    assert not is_listening(path)
    assert not path.exists()


def test_a_socket_with_a_process_is_listening(folder):
    path = Path(folder, "x")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen(1)

        assert is_listening(path)
