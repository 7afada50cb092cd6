"""The options of a worker are checked when they are made."""

from math import inf, nan

import pytest

from edr.sinks import Batch, Retry


@pytest.mark.parametrize(
    "fields", [{"events": 0}, {"events": True}, {"bytes": 0}, {"linger": -1}, {"linger": inf}]
)
def test_an_invalid_batch_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Batch(**fields)


@pytest.mark.parametrize(
    "fields", [{"base": -1}, {"factor": 0.5}, {"cap": nan}, {"give_up_after": "1h"}]
)
def test_an_invalid_retry_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Retry(**fields)


def test_equal_options_are_equal():
    assert Batch(events=2) == Batch(events=2) != Batch()
    assert Retry(base=2) == Retry(base=2) != Retry()
