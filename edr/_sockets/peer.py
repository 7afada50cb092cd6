"""``peer_uid``: the user at the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import socket
import struct
import sys

_UCRED = struct.Struct("3i")
"""Linux: pid, uid, gid."""

_XUCRED = struct.Struct("Iih16I")
"""macOS and FreeBSD: version, uid, number of groups, groups."""

_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1


def peer_uid(peer: socket.socket) -> int:
    """Return the user id of the process that connected ``peer``.

    Raises:
        OSError: the system does not tell.
    """
    if sys.platform == "linux":
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(credentials)[1])
    credentials = peer.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    return int(_XUCRED.unpack(credentials)[1])
