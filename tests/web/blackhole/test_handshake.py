import pytest

from edr.web.blackhole.handshake import handshake_of
from edr.web.peer import Peer
from edr.web.refusals import RefusedError


def scope_of(*, headers=(), client=("203.0.113.7", 50123)):
    return {"type": "websocket", "headers": list(headers), "client": client}


def test_peer_has_the_address_and_the_origin():
    handshake = handshake_of(scope_of(headers=[(b"origin", b"https://ui.example.net")]))

    assert handshake.peer == Peer("203.0.113.7", "https://ui.example.net", "blackhole")
    assert handshake.peer_name == "203.0.113.7:50123"


def test_client_of_a_unix_socket_has_no_address():
    assert handshake_of(scope_of(client=None)).peer.address == ""


@pytest.mark.parametrize("value", [b"chat", b""])
def test_subprotocol_is_refused(value):
    handshake = handshake_of(scope_of(headers=[(b"sec-websocket-protocol", value)]))

    with pytest.raises(RefusedError) as caught:
        handshake.check()
    assert caught.value.status == 400
