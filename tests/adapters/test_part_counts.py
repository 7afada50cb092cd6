"""The counts of sinks and sources."""

from types import SimpleNamespace

from edr.adapters.part_counts import read_part


def values(kind, **status):
    part = SimpleNamespace(kind=kind, name="a", status=lambda: status)
    return {(name, *labels[1:]): value for name, labels, value in read_part(part)}


def test_losses_and_dead_letters_are_counted_apart():
    lost = {"retention": 3, "rejected": 2, "expired": 1}
    found = values("sink", state="running", lost=lost, rejected=3, delivered=5, backlog=7)

    assert found["sink_missed",] == 3
    assert found["sink_rejected",] == 3
    assert found["sink_delivered",] == 5
    assert found["sink_backlog",] == 7


def test_one_state_is_1_and_the_others_0():
    found = values("sink", state="failed", error="x")

    states = {key[1]: value for key, value in found.items() if key[0] == "sink_state"}
    assert [state for state, value in states.items() if value] == ["failed"]
    assert len(states) > 5


def test_a_source_has_its_lines_and_its_connections():
    found = values("source", delivered=9, lost={"refused": 2}, failed=1, connections=4)

    assert found == {
        ("source_accepted",): 9,
        ("source_refused",): 2,
        ("source_missed",): 0,
        ("source_failed",): 1,
        ("source_connections",): 4,
    }


def test_another_service_has_no_counts():
    assert values("link", state="up") == {}
    assert list(read_part(object())) == []
