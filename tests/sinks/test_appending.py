"""One file to which lines are appended."""

import os
import stat

import pytest

from edr.sinks.appending import AppendedFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f"


@pytest.fixture
def file(path):
    file = AppendedFile(path)
    yield file
    file.close()


def test_a_new_file_is_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        AppendedFile(path).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_folder_is_synced_when_the_file_is_created(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    AppendedFile(path).close()
    AppendedFile(path).close()

    assert synced == [path.parent.stat().st_ino]


def test_lines_are_appended(path, file):
    file.append(b"1\n", sync=False)
    file.append(b"2\n", sync=True)

    assert path.read_bytes() == b"1\n2\n"


def test_an_incomplete_last_line_is_terminated(path):
    path.write_bytes(b"1\nhalf")
    file = AppendedFile(path)
    file.append(b"2\n", sync=False)
    file.append(b"3\n", sync=False)
    file.close()

    assert path.read_bytes() == b"1\nhalf\n2\n3\n"


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_failed_call_leaves_the_file_as_it_was(path, file, monkeypatch, failing):
    file.append(b"1\n", sync=True)
    write = os.write

    def fail(fd, *data):
        for each in data:
            write(fd, bytes(each[:2]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        if failing == "write":
            pieces = iter([lambda fd, data: write(fd, bytes(data[:1])), fail])
            patch.setattr(os, "write", lambda fd, data: next(pieces)(fd, data))
        with pytest.raises(OSError, match="No space"):
            file.append(b"2222\n", sync=True)
    file.append(b"3\n", sync=True)

    assert path.read_bytes() == b"1\n3\n"


def test_lines_of_another_process_are_not_cut(path, file, monkeypatch):
    def fail(fd):
        with path.open("ab") as other:
            other.write(b"other\n" * 10)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        file.append(b"mine\n", sync=True)

    assert path.read_bytes().count(b"other\n") == 10


def test_it_is_synced_only_on_request(file, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    file.append(b"1\n", sync=False)
    assert synced == []
    file.append(b"2\n", sync=True)

    assert len(synced) == 1


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo", "device"])
def test_only_a_regular_file_is_opened(tmp_path, kind):
    path = tmp_path / "it"
    if kind == "link":
        (tmp_path / "other").touch()
        path.symlink_to(tmp_path / "other")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "other")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = path.with_name("null")
        path = type(path)("/dev/null")

    with pytest.raises(OSError):
        AppendedFile(path)


def test_a_renamed_file_is_noticed(path, file):
    assert file.is_at_path()
    path.rename(path.with_name("old"))

    assert not file.is_at_path()


def test_a_truncation_by_another_process_is_noticed(path, file):
    file.append(b"1\n", sync=False)
    assert not file.was_truncated
    os.truncate(path, 0)
    file.append(b"2\n", sync=False)

    assert file.was_truncated
    assert path.read_bytes() == b"2\n"
