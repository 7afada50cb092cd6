"""Sources: events of the outside, published on a bus and answered when they are stored.

A source reads documents, and gives them to an ``Ingest``. It answers ``{"accepted": 98, "refused":
[{"line": 3, "path": "body.a", "reason": "…"}]}``. ``docs/sources.md`` is the manual.

Promises:

* Accepted means stored: a source answers after the commit that contains its events.
* Order: events of one connection, request or input are published in the order of its lines.
* A line that is not a valid event is refused with its number, path and reason. The others are
  accepted, and the connection continues.
* Backpressure: a source does not read while the journal has no room.
* ``id``, ``node`` and ``timestamp`` are kept where present, and filled in once where missing.
* A sender with a token never sets the account tree, and emits only for its account and the accounts
  below it.
* ``drain`` reads no further, and answers the lines that were read.

Not promised: that an event without an answer was not stored. A sender that did not get one sends
again, with the same ``id``.

Read the modules in this order; each imports only from those before it:
answers, senders, documents, lines, ingest, source, reading_task, reading, conversation, stdin,
unix_socket, tokens, http, jetstream.
"""

from edr.sources.answers import Answer, NotStored, Refused, Reply
from edr.sources.http import HttpIngest
from edr.sources.ingest import Document, Ingest, Stored
from edr.sources.jetstream import JetStreamSource
from edr.sources.senders import LOCAL, Sender
from edr.sources.source import Source, SourceStatistics
from edr.sources.stdin import StdinSource
from edr.sources.tokens import Token, Tokens, TokensError
from edr.sources.unix_socket import SocketSource

__all__ = [
    "LOCAL",
    "Answer",
    "Document",
    "HttpIngest",
    "Ingest",
    "JetStreamSource",
    "NotStored",
    "Refused",
    "Reply",
    "Sender",
    "SocketSource",
    "Source",
    "SourceStatistics",
    "StdinSource",
    "Stored",
    "Token",
    "Tokens",
    "TokensError",
]
