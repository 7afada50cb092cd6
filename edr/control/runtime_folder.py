"""``RuntimeFolder``: the folder of the control sockets of one user, and which folder that is.

It is ``$EDR_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/edr``, else ``edr-UID`` in the temporary folder.
A temporary folder is everybody's. Another user may have made a folder of that name first, or a link
to a folder of ours, to read what operators connect to. So its type, owner and mode are checked on
the opened folder, without following a link, and a wrong folder is never used or repaired.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

from edr.errors import SocketPathError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""The names under which a bus can be exposed. They are part of a file's name."""

SOCKET = re.compile(rf"({NAME.pattern})\.([1-9][0-9]{{0,9}})\.sock")
"""The file name of a control socket: ``NAME.PID.sock``."""


def check_supported() -> None:
    """Raise unless this system has Unix sockets.

    Raises:
        SocketPathError: it does not.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise SocketPathError(
            "control sockets are Unix sockets, and Python has none on this system"
        )


def runtime_folder() -> Path:
    """Return the path of the runtime folder of this user. It may not exist.

    Raises:
        SocketPathError: this system has no Unix sockets.
    """
    check_supported()
    if given := os.environ.get("EDR_RUNTIME_DIR"):
        return Path(given).absolute()
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given).absolute() / "edr"
    import tempfile  # noqa: PLC0415 - 5 ms of each command of `edr`, and seldom needed

    return Path(tempfile.gettempdir()) / f"edr-{os.geteuid()}"


def make_runtime_folder(path: Path) -> None:
    """Make the folder with mode 0700 if it is missing, and check it.

    Raises:
        SocketPathError: it cannot be made, or is not safe.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as exc:
        raise SocketPathError(
            f"the runtime folder {path} cannot be made ({exc.strerror}); "
            "set EDR_RUNTIME_DIR to a folder whose parent exists and is writable"
        ) from exc
    else:
        path.chmod(0o700)  # a umask of 0777 would leave nothing of the mode
    check_runtime_folder(path)


def check_runtime_folder(path: Path, *, root_reads_all: bool = False) -> None:
    """Check that ``path`` is a folder of this user, without a link, that only this user can enter.

    Args:
        path: the folder.
        root_reads_all: accept any owner if this process is root's. Root may look into the folders
            of other users.

    Raises:
        FileNotFoundError: the folder does not exist.
        SocketPathError: it is not safe.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as exc:
        kind = "a symbolic link" if path.is_symlink() else exc.strerror
        raise SocketPathError(
            f"the runtime folder {path} must be a folder of this user, got: {kind}; "
            "remove it, or set EDR_RUNTIME_DIR to another folder"
        ) from exc
    try:
        status = os.fstat(opened)
    finally:
        os.close(opened)
    user = os.geteuid()
    if status.st_uid != user and not (root_reads_all and user == 0):
        raise SocketPathError(
            f"the runtime folder {path} must belong to the user {user}, got the owner "
            f"{status.st_uid}; set EDR_RUNTIME_DIR to another folder"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise SocketPathError(
            f"the runtime folder {path} must have mode 0700, got {mode:04o}; run: chmod 700 {path}"
        )
