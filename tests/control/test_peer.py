import os
import socket

import pytest

from edr.control.peer import peer_uid


def test_the_user_of_the_other_end_is_known():
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_a_socket_of_the_network_has_no_user():
    with socket.socket(socket.AF_INET) as one:
        try:
            uid = peer_uid(one)
        except OSError:
            uid = -1

    assert uid != os.geteuid() or pytest.fail("a user for a socket without one")
