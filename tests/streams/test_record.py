from edr.streams import Missed, Taken


def test_taken_has_not_ended_by_default():
    assert Taken(None, []) == (None, [], False)
    assert Missed(3, "slow", "w-1") == Missed(3, "slow", "w-1")
