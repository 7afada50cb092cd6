"""The exceptions of a sink."""

import pickle

import pytest

import edr
from edr.sinks import RefusedError, RejectError, RetryError


def test_all_are_errors_of_edr():
    for each in (RetryError, RejectError, RefusedError):
        assert issubclass(each, edr.EdrError)


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ("too old", "too old"),
        ({2: "bad"}, "bad"),
        ({2: "bad", 3: "worse"}, "bad (and 1 more)"),
        ({}, "no event was named"),
    ],
)
def test_a_rejection_names_a_reason(reasons, text):
    assert str(RejectError(reasons)) == text


def test_a_retry_has_its_reason_and_delay():
    error = RetryError("503", after=3)

    assert (str(error), error.after, error.slow) == ("503", 3, False)
    assert str(pickle.loads(pickle.dumps(error))) == "503"
