import os
import socket
from contextlib import suppress

from edr._sockets.peer import peer_uid


def test_the_user_of_the_other_end_is_known():
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_a_socket_of_the_network_has_no_user():
    one = socket.socket(socket.AF_INET)
    with one, suppress(OSError):  # an error of the system, or a user that does not exist
        assert peer_uid(one) not in (0, os.geteuid())
