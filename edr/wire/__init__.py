"""Events as bytes, and back: one module for each form, and a table of them by name.

``encode(event)`` returns the bytes. ``decode(data)`` returns an event, in the modules of forms that
can be read. ``wire_format("cloudevents")`` returns both with the content type, as a ``WireFormat``.
The package uses records only: no event loop, no file, no socket. Its names are loaded when they are
first used.

==================  ===========  ===========================================================
``native``          both ways    edr's own JSON, lossless
``kazoo``           both ways    the AMQP payload of a Kazoo cluster, with its routing keys
``kazoo_json``      out          the JSON that Kazoo's own file and HTTP outputs write
``blackhole``       out          the ``data`` of an event that Kazoo's Blackhole sends
``cloudevents``     both ways    CloudEvents 1.0, structured JSON, lossless
``text``            out          one line for people
``logfmt``          out          one line of ``key=value`` for log tools
==================  ===========  ===========================================================

Read the modules in this order; each imports only from those before it:
parsing, native, kazoo, kazoo_json, blackhole, cloudevents, escaping, text, logfmt, formats.

Promises:

* Encoding never fails because of an event's content, except where a form states a limit.
* Decoding checks an event as ``Event(...)`` does. Every fault is an ``InvalidEventError`` whose
  ``path`` names the field as that form names it. Unknown fields are ignored.
* An encoded event is one line, unless ``kazoo_json`` is called with ``pretty=True``. The content
  of an event cannot break a line of ``text`` or ``logfmt``, and cannot control a terminal.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr.wire import blackhole, cloudevents, kazoo, kazoo_json, logfmt, native, text
    from edr.wire.formats import FORMATS, Decoder, WireFormat, wire_format
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {"edr.wire.formats": "FORMATS Decoder WireFormat wire_format"},
        modules="blackhole cloudevents kazoo kazoo_json logfmt native text",
    )

__all__ = [
    "FORMATS",
    "Decoder",
    "WireFormat",
    "blackhole",
    "cloudevents",
    "kazoo",
    "kazoo_json",
    "logfmt",
    "native",
    "text",
    "wire_format",
]
