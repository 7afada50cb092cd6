import pytest

from edr import Event
from edr.streams.window import Window


def filled(make_event, count, **options):
    window = Window(**{"size": 1000, "max_bytes": 2**20, **options})
    slots = [window.append(make_event(body={"n": n})) for n in range(count)]
    return window, slots


def test_window_keeps_the_newest_events(make_event):
    window, slots = filled(make_event, 5, size=3)

    assert [slot.position for slot in window] == [3, 4, 5]
    assert (window.first, window.newest, len(window)) == (3, 5, 3)
    assert [slot.event is None for slot in slots] == [True, True, False, False, False]


def test_window_is_bounded_by_bytes_at_every_moment(make_event):
    window = Window(1000, 5000)
    for n in range(200):
        window.append(make_event(body={"text": "x" * (n % 50) * 10}))

        assert window.bytes <= 5000
    assert len(window) > 3


def test_newest_event_is_kept_if_it_is_too_large(make_event):
    window, _ = filled(make_event, 3, max_bytes=1)

    assert [slot.position for slot in window] == [3]


def test_json_is_made_once_and_its_bytes_replace_the_estimate(make_event):
    window, slots = filled(make_event, 2)
    records = [window.record(slot, 0) for slot in slots]

    assert [window.record(slot, 0) for slot in slots] == records
    assert window.record(slots[0], 0).json is records[0].json
    assert window.bytes == sum(len(record.json) for record in records)


@pytest.mark.parametrize("fields", [{}, {"account_id": "b", "account_tree": ("root", "a")}])
def test_estimate_is_near_the_size_of_the_json(make_event, fields):
    window = Window(10, 2**20)
    slot = window.append(make_event(body={"n": 1}, node="n", **fields))
    estimate = slot.size

    assert 0 <= estimate - len(window.record(slot, 0).json) < 30


def test_each_form_of_an_event_is_made_once_and_counted(make_event):
    event = make_event(account_id="b", account_tree=("root", "a"), body={"n": 1})
    window = Window(10, 2**20)
    slot = window.append(event)
    records = [window.record(slot, cut) for cut in (1, 0, 2, 0, 1)]

    assert [record.event.account_tree for record in records[:3]] == [("a",), ("root", "a"), ()]
    assert records[3:] == [records[1], records[0]]
    assert Event.from_json(records[2].json) == records[2].event
    assert window.bytes == sum(len(record.json) for record in records[:3])


def test_same_object_has_a_slot_for_each_position(make_event):
    window = Window(10, 2**20)
    event = make_event()
    first, second = window.append(event), window.append(event)

    assert window.latest[id(event)] is second
    assert second.previous is first
    assert list(window.latest.values()) == [second]


def test_window_forgets_events_that_left_it(make_event):
    window = Window(2, 2**20)
    event = make_event()
    window.append(event)
    window.append(make_event())
    window.append(event)
    window.append(make_event())
    assert window.latest[id(event)].position == 3
    window.append(make_event())

    assert id(event) not in window.latest
    assert len(window.latest) == 2


def test_cursor_of_the_window_has_its_id(make_event):
    window, _ = filled(make_event, 3, window_id="w")

    assert window.cursor(2) == "w-2"
    assert window.position_of("w-2", 3) == 2
    assert window.position_of("w-3", 3) == 3


@pytest.mark.parametrize("cursor", ["w-4", "v-2", "w", None, "w-" + "9" * 3000])
def test_other_cursors_have_no_position(make_event, cursor):
    window, _ = filled(make_event, 3, window_id="w")

    assert window.position_of(cursor, 3) is None


def test_ids_of_windows_differ():
    assert len({Window(1, 1).id for _ in range(20)}) == 20


def test_position_is_skipped_once_a_cursor_may_have_been_given(make_event):
    window = Window(10, 2**20)
    window.skip()
    assert window.newest == 0
    window.skip()

    assert window.newest == 1
    assert window.append(make_event()).position == 2
