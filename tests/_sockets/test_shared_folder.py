import os
from pathlib import Path

import pytest

from edr._sockets import check_shared_folder
from edr.errors import SocketPathError


def test_a_shared_folder_must_not_be_writable_by_others(tmp_path):
    tmp_path.chmod(0o755)
    check_shared_folder(tmp_path)
    tmp_path.chmod(0o1777)
    check_shared_folder(tmp_path)
    tmp_path.chmod(0o777)

    with pytest.raises(SocketPathError, match="could replace the socket"):
        check_shared_folder(tmp_path)


def test_a_shared_folder_must_exist(tmp_path):
    with pytest.raises(SocketPathError, match="cannot be used"):
        check_shared_folder(tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_shared_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)

    with pytest.raises(SocketPathError, match="its owner could replace"):
        check_shared_folder(Path(tmp_path))
