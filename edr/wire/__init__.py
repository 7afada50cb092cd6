"""Events as bytes, and back: one module for each form.

``encode(event)`` gives the bytes, and ``decode(data)`` an event of them where a form can be read.
All of it is pure: of records only, no event loop, no file, no socket.

==================  ===========  ===========================================================
``native``          both ways    edr's own JSON, lossless
``kazoo``           both ways    the AMQP payload of a Kazoo cluster, with its routing keys
``kazoo_json``      out          the JSON that Kazoo's own file and HTTP outputs write
``cloudevents``     both ways    CloudEvents 1.0, structured JSON, lossless
``text``            out          one line for people
``logfmt``          out          one line of ``key=value`` for log tools
==================  ===========  ===========================================================

Read the modules in this order; each imports only from those before it:
parsing, native, kazoo, kazoo_json, cloudevents, escaping, text, logfmt.

Promises: encoding never fails for an event's content, but where a form has a limit that its
docstring states. What is read is checked as any event is: whatever is wrong with it is one
``InvalidEventError`` that says where, in the words of that form. A reader ignores fields that it
does not know. Each encoding is without line breaks unless it was asked to be pretty, and nothing
that an event says can break a line of ``text`` or ``logfmt``, or steer a terminal.
"""

from edr.wire import cloudevents, kazoo, kazoo_json, logfmt, native, text

__all__ = ["cloudevents", "kazoo", "kazoo_json", "logfmt", "native", "text"]
