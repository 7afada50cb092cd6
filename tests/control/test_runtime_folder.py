import os
import socket
import stat

import pytest

from edr.control import SocketPathError, connect, expose, find
from edr.control.runtime_folder import (
    check_runtime_folder,
    make_runtime_folder,
    runtime_folder,
)


def test_the_folder_is_that_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("EDR_RUNTIME_DIR", raising=False)
    assert runtime_folder() == tmp_path / "edr"

    monkeypatch.setenv("EDR_RUNTIME_DIR", str(tmp_path / "own"))
    assert runtime_folder() == tmp_path / "own"


def test_without_an_environment_it_is_in_the_temporary_folder(monkeypatch):
    monkeypatch.delenv("EDR_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    assert runtime_folder().name == f"edr-{os.geteuid()}"


@pytest.mark.skipif("EDR_LOOP" in os.environ, reason="uvloop itself needs Unix sockets")
async def test_a_system_without_unix_sockets_is_an_error(monkeypatch, bus):
    monkeypatch.delattr(socket, "AF_UNIX")

    for use in (find, lambda: connect("x").__await__().send(None)):
        with pytest.raises(SocketPathError, match="are Unix sockets"):
            use()
    with pytest.raises(SocketPathError, match="are Unix sockets"):
        await expose(bus, path="/x/y")


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_new_folder_has_mode_0700_under_any_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        make_runtime_folder(tmp_path / "edr")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "edr").stat().st_mode) == 0o700


def test_a_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "edr").symlink_to(tmp_path / "real")

    with pytest.raises(SocketPathError, match="a symbolic link"):
        make_runtime_folder(tmp_path / "edr")


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "edr").symlink_to(tmp_path / "missing")

    with pytest.raises(SocketPathError, match="a symbolic link"):
        make_runtime_folder(tmp_path / "edr")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "edr").touch()

    with pytest.raises(SocketPathError, match="must be a folder"):
        make_runtime_folder(tmp_path / "edr")


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o1777])
def test_a_folder_that_others_can_enter_is_refused(tmp_path, mode):
    (tmp_path / "edr").mkdir()
    (tmp_path / "edr").chmod(mode)

    with pytest.raises(SocketPathError, match=f"must have mode 0700, got {mode:04o}; run: chmod"):
        make_runtime_folder(tmp_path / "edr")
    assert stat.S_IMODE((tmp_path / "edr").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "edr").mkdir(mode=0o700)
    os.chown(tmp_path / "edr", 65534, 65534)

    with pytest.raises(SocketPathError, match="must belong to the user 0, got the owner 65534"):
        check_runtime_folder(tmp_path / "edr")
    check_runtime_folder(tmp_path / "edr", root_reads_all=True)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(SocketPathError, match="set EDR_RUNTIME_DIR"):
        make_runtime_folder(tmp_path / "missing" / "edr")
