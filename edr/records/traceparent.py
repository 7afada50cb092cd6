"""The text of a W3C trace context."""

import re

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(value: str) -> bool:
    """Return whether ``value`` is a W3C trace context of version 00 with ids that are not zero."""
    return TRACEPARENT.fullmatch(value) is not None
