"""The table of responses, row by row, and Retry-After."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from edr.sinks import RejectError, RetryError
from edr.sinks.http_answers import MAX_RETRY_AFTER, failure_of, seconds_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_means_delivered(status):
    assert failure_of(status, "5", "") is None


@pytest.mark.parametrize("status", [101, 408, 425, 429, 500, 502, 503, 504, 599])
def test_a_passing_fault_is_sent_again_after_retry_after(status):
    failure = failure_of(status, "5", "")
    assert isinstance(failure, RetryError)
    assert (failure.after, failure.slow) == (5.0, False)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 407])
def test_a_fault_of_the_configuration_is_sent_again_slowly(status):
    failure = failure_of(status, None, "")
    assert isinstance(failure, RetryError)
    assert failure.slow
    assert str(failure).startswith(str(status))


@pytest.mark.parametrize("status", [400, 402, 406, 409, 410, 411, 414, 415, 422, 451, 499])
def test_another_4xx_is_rejected(status):
    failure = failure_of(status, None, "no such field")
    assert isinstance(failure, RejectError)
    assert not failure.too_large
    assert str(failure).startswith(str(status))
    assert str(failure).endswith(": no such field")


def test_a_413_is_rejected_as_too_large():
    failure = failure_of(413, None, "")
    assert isinstance(failure, RejectError)
    assert failure.too_large


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("3601", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Fri, 99 Nov 99999 99:99:99 GMT", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=900), usegmt=True), MAX_RETRY_AFTER),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_at_most_an_hour(value, seconds):
    assert seconds_of(value, NOW) == seconds
