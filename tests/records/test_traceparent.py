"""Which text is a W3C trace context."""

import pytest

from edr.records import is_traceparent

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_context_of_version_00_is_accepted():
    assert is_traceparent(VALID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        VALID.upper(),
        VALID + "-00",
        VALID.replace("00-", "01-", 1),
        VALID.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        VALID.replace("b7ad6b7169203331", "0" * 16),
    ],
)
def test_other_text_is_not_a_trace_context(text):
    assert not is_traceparent(text)
