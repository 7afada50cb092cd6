import pytest
from contracts.journal import event

from edr.journal import batch
from edr.journal.batch import RejectedError, rows_of
from edr.journal.codec import row_of

INVALID = event(0)
INVALID.__dict__["body"] = {"n": {1}}  # past validation: a set is not JSON


def test_rows_of_takes_as_many_events_as_fit(monkeypatch):
    events = [event(n) for n in range(5)]
    monkeypatch.setattr(batch, "COMMIT_BYTES", sum(len(row_of(each).data) for each in events[:3]))
    assert rows_of(events) == [row_of(each) for each in events[:3]]


def test_rows_of_takes_one_event_of_any_size(monkeypatch):
    monkeypatch.setattr(batch, "COMMIT_BYTES", 1)
    assert len(rows_of([event(1), event(2)])) == 1


def test_rows_of_rejects_a_first_event_that_is_too_large(monkeypatch):
    monkeypatch.setattr(batch, "MAX_EVENT", 10)
    with pytest.raises(RejectedError, match="at most 10 bytes"):
        rows_of([event(1)])


def test_rows_of_stops_before_an_invalid_event():
    assert len(rows_of([event(1), INVALID])) == 1
    with pytest.raises(RejectedError):
        rows_of([INVALID])
