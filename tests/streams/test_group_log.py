from edr.streams.group_log import GroupLog
from edr.streams.window import Slot


def slots(*positions):
    return [Slot.at(position) for position in positions]


def log_of(*positions):
    log = GroupLog()
    log.entries.extend(slots(*positions))
    return log


def test_find_returns_the_first_entry_at_or_after_a_position():
    log = log_of(3, 5, 9)

    assert [log.find(position) for position in (0, 3, 4, 5, 9, 10)] == [0, 0, 1, 1, 2, 3]
    assert log.end == 3


def test_indexes_stay_valid_when_entries_are_removed_and_prepended():
    log = log_of(13, 15, 19)
    log.prepend(slots(2, 4))
    assert (log.origin, log.find(15), log.end) == (-2, 1, 3)
    log.remove_before(14)

    assert (log.origin, log.find(15), log.end, log.removed_to) == (1, 1, 3, 13)
    assert log.find(2) == 1


def test_insert_keeps_the_order():
    log = log_of(3, 9)
    log.insert(*slots(5))

    assert [slot.position for slot in log.entries] == [3, 5, 9]


def test_holds_compares_slots_by_identity():
    log = log_of(3, 5)

    assert log.holds(log.entries[1])
    assert not log.holds(*slots(5))
    assert not log.holds(*slots(7))
