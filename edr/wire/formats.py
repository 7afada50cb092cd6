"""``WireFormat``: one form of events as bytes. ``FORMATS``: the forms of edr by name.

Example::

    import edr
    from edr.wire import wire_format

    form = wire_format("cloudevents")
    event = edr.Event(
        app_name="billing", app_version="5.1", severity="ok", verbosity="info", body={}
    )
    assert form.content_type == "application/cloudevents+json"
    assert form.decode is not None
    assert form.decode(form.encode(event)) == event
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

from edr.errors import did_you_mean
from edr.records import Event
from edr.wire import cloudevents, kazoo, kazoo_json, logfmt, native, text

Decoder: TypeAlias = Callable[[str | bytes | bytearray], Event]
"""Reads an event. Raises ``InvalidEventError`` for data that it cannot read."""


class WireFormat(Protocol):
    """A form of events as bytes. Write one of your own, or take one of ``FORMATS``."""

    @property
    def name(self) -> str:
        """The name, such as ``cloudevents``."""
        ...

    @property
    def content_type(self) -> str:
        """The media type, for a header."""
        ...

    def encode(self, event: Event, /) -> bytes:
        """Return ``event`` in this form."""
        ...

    @property
    def decode(self) -> Decoder | None:
        """The function that reads an event of this form; ``None`` if the form is only written."""
        ...


@dataclass(frozen=True, slots=True)
class _Format:
    """The functions of one module."""

    name: str
    content_type: str
    encode: Callable[[Event], bytes]
    decode: Decoder | None = None


FORMATS: Mapping[str, WireFormat] = MappingProxyType(
    {
        form.name: form
        for form in (
            _Format("native", native.CONTENT_TYPE, native.encode, native.decode),
            _Format("kazoo", kazoo.CONTENT_TYPE, kazoo.encode, kazoo.decode),
            _Format("kazoo_json", kazoo_json.CONTENT_TYPE, kazoo_json.encode),
            _Format(
                "cloudevents", cloudevents.CONTENT_TYPE, cloudevents.encode, cloudevents.decode
            ),
            _Format("text", text.CONTENT_TYPE, text.encode),
            _Format("logfmt", logfmt.CONTENT_TYPE, logfmt.encode),
        )
    }
)
"""Each form of ``edr.wire`` by the name of its module."""


def wire_format(name: str) -> WireFormat:
    """Return the form with this name.

    Raises:
        ValueError: no form has this name; the message lists the names.
    """
    try:
        return FORMATS[name]
    except KeyError:
        names = ", ".join(FORMATS)
        raise ValueError(
            f"wire format must be one of {names}, got {name!r}{did_you_mean(name, FORMATS)}"
        ) from None
