from edr.sources import LOCAL, Sender


def test_a_sender_is_not_trusted_unless_it_is_local():
    assert not Sender().is_trusted
    assert Sender(account=None, is_trusted=True) == LOCAL
