from edr.web import Peer


def test_peer_has_the_address_the_origin_and_the_transport():
    assert Peer("10.0.0.1", None, "sse") == ("10.0.0.1", None, "sse")
