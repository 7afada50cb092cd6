"""edr's own JSON: all fields under their own names. What one edr writes, another reads.

``decode(encode(event)) == event`` for every event. It is one line, so a file of them is JSON
lines. A reader ignores fields it does not know, so that a writer can be newer.
"""

from edr.records import Event

CONTENT_TYPE = "application/json"


def encode(event: Event) -> bytes:
    """Return the JSON of ``event``."""
    return event.to_json()


def decode(data: str | bytes | bytearray) -> Event:
    """Read an event.

    Raises:
        InvalidEventError: it is no JSON object, or a field is missing or wrong; ``path`` says
            which.
    """
    return Event.from_json(data)
