"""edr's own JSON: all fields under their own names.

``decode(encode(event)) == event`` for every event. An encoded event is one line, so a file of them
is JSON lines. Decoding ignores unknown fields, so that a writer can be newer than its readers.
"""

from edr.records import Event

CONTENT_TYPE = "application/json"


def encode(event: Event) -> bytes:
    """Return the JSON of ``event``."""
    return event.to_json()


def decode(data: str | bytes | bytearray) -> Event:
    """Return the event of ``data``.

    Raises:
        InvalidEventError: ``data`` is not a JSON object, or a field is missing or wrong; ``path``
            names the field.
    """
    return Event.from_json(data)
