"""``check_shared_folder``: whether other users could replace the socket in a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edr.errors import SocketPathError


def check_shared_folder(path: Path) -> None:
    """Check the folder of a socket whose path was given: other users must not replace its files.

    Raises:
        SocketPathError: it is missing, or another user can replace the socket.
    """
    try:
        status = path.stat()
    except OSError as exc:
        raise SocketPathError(f"the folder {path} cannot be used ({exc.strerror})") from exc
    if not stat.S_ISDIR(status.st_mode):
        raise SocketPathError(f"{path} must be a folder")
    if status.st_uid not in (0, os.geteuid()):
        raise SocketPathError(
            f"the folder {path} must belong to the user {os.geteuid()} or to root, got the owner "
            f"{status.st_uid}: its owner could replace the socket"
        )
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise SocketPathError(
            f"the folder {path} must not be writable by other users, got mode "
            f"{stat.S_IMODE(status.st_mode):04o}: they could replace the socket"
        )
