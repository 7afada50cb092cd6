"""``is_listening``: whether a process accepts connections at the path of a Unix socket."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path


def is_listening(path: Path) -> bool:
    """Return whether a process accepts connections at ``path``. Remove a socket without one.

    A socket gets its final name only after it accepts connections. So one that refuses them has
    lost its process.
    """
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # its queue of connections is full
        except ConnectionRefusedError:
            with suppress(OSError):
                path.unlink()
            return False
        except OSError as exc:
            return exc.errno in (errno.EACCES, errno.EPERM)  # another user's
    return True
