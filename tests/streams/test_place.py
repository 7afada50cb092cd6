"""Where a place begins, what it is told is missing, and the cursor that it has."""

import pytest
from support.stream_clients import Calls, numbers, take_all, turns

from edr import Binding
from edr.streams import Grant, Streams
from edr.streams.window import Window

APP = Binding(app_name="app")


async def test_place_begins_after_the_newest_event(bus, publish, read):
    streams = Streams(bus, history=True)
    publish(1)
    place, seen = await read(streams)
    assert seen == []
    publish(2)

    assert take_all(place) == [2]


@pytest.mark.parametrize(("last", "seen"), [(0, []), (1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])])
async def test_last_gives_the_newest_events(bus, publish, read, last, seen):
    streams = Streams(bus, history=True)
    publish(1, 2, 3, 4)
    publish(5, app_name="other")

    assert (await read(streams, APP, last=last))[1] == seen
    assert (await read(streams, APP, last=last))[1] == seen  # of a group that is filled


async def test_last_without_history_has_events_of_other_groups(bus, publish, read):
    streams = Streams(bus)
    publish(1)
    streams.join(APP, on_ready=print)
    publish(2)
    publish(3, app_name="other")

    assert not streams.history
    assert (await read(streams, last=10))[1] == [2]


async def test_slow_place_is_told_how_many_it_missed(bus, publish):
    streams = Streams(bus, size=3)
    place = streams.join(APP, on_ready=print)
    publish(1, 2, 3, 4, 5)
    publish(6, app_name="other")
    taken = place.take()

    assert (taken.missed.count, taken.missed.reason) == (2, "slow")
    assert numbers(taken) == [3, 4, 5]
    assert (place.sent, place.missed, place.behind) == (3, 2, 0)


async def test_missed_does_not_count_events_of_others(bus, publish):
    streams = Streams(bus, size=3, history=True)
    place = streams.join(grant=Grant("a"), on_ready=print)
    for n in range(10):
        publish(n, account_id="a" if n % 2 else "b")

    assert take_all(place) == [(3, "slow"), 7, 9]


async def test_gap_without_a_record_after_it(bus, publish):
    streams = Streams(bus, size=2, history=True)
    place = streams.join(APP, on_ready=print)
    publish(1)
    publish(2, 3, app_name="other")
    taken = place.take()

    assert (taken.missed.count, taken.records) == (1, [])
    assert taken.missed.cursor == place.cursor


async def test_return_with_a_cursor_repeats_and_loses_nothing(bus, publish, read):
    streams = Streams(bus)
    place = streams.join(APP, on_ready=print)
    publish(*range(10))
    cursors = [record.cursor for record in place.take().records]
    for n, cursor in enumerate(cursors):
        assert (await read(streams, APP, after=cursor))[1] == [*range(n + 1, 10)]


async def test_return_after_a_gap_repeats_nothing(bus, publish, read):
    streams = Streams(bus, size=3)
    place = streams.join(APP, on_ready=print)
    publish(*range(10))
    gap = place.take().missed

    assert (await read(streams, APP, after=gap.cursor))[1] == [7, 8, 9]


async def test_cursor_of_a_rare_filter_follows_the_stream(bus, publish, read):
    streams = Streams(bus, size=3, history=True)
    place, _ = await read(streams, Binding(app_name="rare"))
    publish(*range(10))
    heartbeat = place.cursor
    streams.leave(place)
    publish(10, app_name="rare")

    assert (await read(streams, Binding(app_name="rare"), after=heartbeat))[1] == [10]


async def test_cursor_stays_where_the_client_is(bus, publish):
    streams = Streams(bus)
    place = streams.join(on_ready=print)
    publish(1, 2, 3)
    first = place.take(1)

    assert place.cursor == first.records[0].cursor
    assert numbers(place.take()) == [2, 3]


async def test_expired_cursor_is_reported_with_the_most_that_is_missing(bus, publish, read):
    streams = Streams(bus, size=3, history=True)
    publish(*range(10))
    cursor = f"{streams.id}-2"
    place = streams.join(APP, on_ready=print, after=cursor)
    assert place.cursor == cursor  # until the gap is reported
    await turns()

    assert take_all(place) == [(5, "expired"), 7, 8, 9]


async def test_exact_count_of_an_expired_cursor_while_the_group_stays(bus, publish, read):
    streams = Streams(bus, size=3, history=True)
    place, _ = await read(streams, APP)
    cursor = place.cursor
    streams.leave(place)
    publish(1, 2)
    publish(3, 4, 5, app_name="other")
    publish(6)

    assert (await read(streams, APP, after=cursor))[1] == [(2, "expired"), 6]


async def test_old_cursor_without_a_matching_event_since_is_no_gap(bus, publish, read):
    streams = Streams(bus, size=3, history=True)
    place, _ = await read(streams, APP)
    cursor = place.cursor
    streams.leave(place)
    publish(*range(10), app_name="other")

    assert (await read(streams, APP, after=cursor))[1] == []


async def test_cursor_from_before_the_group_is_expired_without_history(bus, publish, read):
    streams = Streams(bus)
    other, _ = await read(streams, Binding(app_name="other"))
    cursor = other.cursor
    publish(1)
    publish(2, app_name="other")
    place, seen = await read(streams, Binding(), after=cursor)

    assert seen == [(None, "expired"), 2]
    assert (await read(streams, Binding(), after=place.cursor))[1] == []


async def test_newest_cursor_of_an_earlier_group_is_expired_too(bus, publish, read):
    streams = Streams(bus)
    place, _ = await read(streams, Binding(app_name="other"))
    publish(1)  # without a position, since no group receives it

    assert (await read(streams, APP, after=place.cursor))[1] == [(None, "expired")]


@pytest.mark.parametrize("cursor", ["0-0", "other-1", "nonsense", "9" * 3000, "{id}-99", "", 5])
async def test_unknown_cursor_continues_at_the_oldest_event(bus, publish, read, cursor):
    streams = Streams(bus, size=3, history=True)
    publish(*range(10))
    after = cursor.format(id=streams.id) if isinstance(cursor, str) else cursor

    assert (await read(streams, APP, after=after, last=1))[1] == [(None, "restarted"), 7, 8, 9]


async def test_unreported_restart_is_reported_to_the_next_connection(bus, publish, read):
    streams = Streams(bus, history=True)
    publish(1)
    place = streams.join(APP, on_ready=print, after="other-1")
    cursor = place.cursor
    streams.leave(place)

    assert (await read(streams, APP, after=cursor))[1] == [(None, "restarted"), 1]


async def test_take_is_bounded_by_count_and_bytes(bus, publish):
    streams = Streams(bus)
    place = streams.join(on_ready=print)
    publish(*range(10))
    size = len(place.take(1).records[0].json)

    assert numbers(place.take(3)) == [1, 2, 3]
    assert numbers(place.take(max_bytes=2 * size)) == [4, 5]
    assert numbers(place.take(max_bytes=1)) == [6]
    with pytest.raises(ValueError, match="limit must be at least 1"):
        place.take(0)


async def test_records_are_shared_by_clients_with_the_same_form(bus, publish):
    streams = Streams(bus)
    grants = (None, Grant("root"), Grant("a"), Grant("b"), Grant("b"))
    places = [streams.join(on_ready=print, grant=grant) for grant in grants]
    publish(1, account_id="b", account_tree=("root", "a"))
    records = [place.take().records[0] for place in places]

    assert [each.event.account_tree for each in records] == [
        ("root", "a"),
        ("root", "a"),
        ("a",),
        (),
        (),
    ]
    assert records[0] is records[1]
    assert records[3] is records[4]
    assert b"root" not in records[2].json


async def test_place_shows_its_bindings_and_grant(bus):
    streams = Streams(bus)
    place = streams.join(APP, on_ready=Calls(), grant=Grant("a"))

    assert (place.bindings, place.grant) == ((APP,), Grant("a"))


@pytest.mark.parametrize("heartbeat", [True, False])
async def test_cursor_never_goes_back(bus, publish, heartbeat):
    streams = Streams(bus, history=True)
    place = streams.join(APP, on_ready=print)
    publish(1)
    place.take()
    publish(2, 3, app_name="other")
    cursor = place.cursor if heartbeat else place.take() and f"{streams.id}-3"
    publish(4)

    assert place.cursor == cursor == f"{streams.id}-3"


async def test_places_at_one_index_share_what_they_read(bus, publish, monkeypatch):
    streams = Streams(bus)
    places = [streams.join(on_ready=Calls()) for _ in range(3)]
    publish(1, 2)
    first = places[0].take()
    monkeypatch.setattr(Window, "record", None)  # nothing is read again
    first.records.clear()

    assert [numbers(place.take()) for place in places] == [[], [1, 2], [1, 2]]


async def test_place_that_reads_after_an_eviction_shares_nothing(bus, publish):
    streams = Streams(bus, size=2)
    first, second = (streams.join(on_ready=Calls()) for _ in range(2))
    publish(1, 2)
    first.take()
    publish(3)

    assert take_all(second) == [(1, "slow"), 2, 3]
    assert take_all(first) == [3]


async def test_places_share_only_what_they_read_in_the_same_way(bus, publish):
    streams = Streams(bus)
    first, second, third = (streams.join(on_ready=Calls()) for _ in range(3))
    publish(1, 2)

    assert numbers(first.take(1)) == [1]
    assert numbers(second.take()) == [1, 2]
    publish(3)
    assert numbers(third.take()) == [1, 2, 3]
