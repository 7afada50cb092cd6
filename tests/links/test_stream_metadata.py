"""The state of a consumer in metadata is read as it was written."""

import pytest

import edr
from edr.links.stream_metadata import (
    MAX_LISTED,
    ClosedAt,
    bookmark_of,
    checkpoint_metadata,
    closed_metadata,
    consumer_of,
    consumer_status,
    new_metadata,
    opened_metadata,
    record_of,
    written,
)

CLOSED = ClosedAt(9, 8, 4, 2, frozenset({5, 8}))


def info_of(metadata):
    return {"config": {"metadata": metadata}}


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", 7], ids=repr)
def test_consumer_of_refuses_a_wrong_name(name):
    with pytest.raises(ValueError, match="consumer's name"):
        consumer_of(name)


def test_bookmark_is_the_name_of_no_consumer():
    assert bookmark_of("a") == "a~"
    assert consumer_of("a~") != bookmark_of("a")


def test_closed_state_is_read_as_written():
    metadata = new_metadata("c", "{}", 0, 3) | closed_metadata(CLOSED, 7, 6)
    record = record_of(info_of(metadata))

    assert record.closed_at == CLOSED
    assert (record.name, record.missed, record.unreported, record.checkpoint) == ("c", 7, 6, 3)


def test_too_many_unacknowledged_positions_are_only_counted():
    closed = CLOSED._replace(positions=frozenset(range(MAX_LISTED + 1)))
    record = record_of(info_of(closed_metadata(closed, 0, 0)))

    assert record.closed_at == CLOSED._replace(positions=None)


def test_open_consumer_has_no_closed_state():
    metadata = new_metadata("c", "{}", 0, 3) | closed_metadata(CLOSED, 0, 0)
    opened = opened_metadata(info_of(metadata))
    record = record_of(info_of(opened | checkpoint_metadata(6, 1)))

    assert record_of(info_of(opened)).checkpoint == CLOSED.ack_floor
    assert record.closed_at is None
    assert (record.checkpoint, record.missed) == (6, 1)


def test_written_bindings_do_not_depend_on_the_order():
    one, other = edr.Binding(app_name="a"), edr.Binding(severity="warning")

    assert written((one, other)) == written((other, one)) != written((one,))


def test_consumer_status_is_of_consumers_of_a_journal_only():
    info = {"config": {}, "ack_floor": {"stream_seq": 3}, "num_pending": 4, "num_ack_pending": 2}
    assert consumer_status(info, 9, {}) is None

    binding = edr.Binding(app_name="a")
    info["config"] = {"metadata": new_metadata("c", written((binding,)), 5, 0)}
    status = consumer_status(info, 9, {})
    assert (status.position, status.lag, status.unacked, status.missed) == (3, 6, 2, 5)
    assert status.bindings == (binding,)
    assert not status.open


def test_consumer_status_counts_no_entries_that_were_sent_ahead():
    metadata = new_metadata("c", "", 0, 0) | closed_metadata(CLOSED, 0, 0)
    info = {"config": {"metadata": metadata}, "ack_floor": {"stream_seq": 4}}
    status = consumer_status({**info, "num_pending": 0, "num_ack_pending": 200}, 9, {})

    assert (status.unacked, status.bindings) == (2, ())
