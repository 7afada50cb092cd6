"""``Streams``: one fan-out of the events of a bus to many observers.

The control socket and the web gateway stand on it. An observer, such as a terminal or a browser,
may be slow, may stop reading, and may return later. It must not slow down the emits of the bus, and
it must be told how many events it did not receive.

* **Group**: all clients with the same bindings and the same grant. A group is one tap on the bus
  and one log of the events that it received.
* **Window**: the last events that any group received. It is bounded by count and by bytes, and all
  groups share it.
* **Place**: one client. It is an index into the log of its group. It has no queue, no task and no
  subscription, so it costs an emit nothing while it lags, and its number of missed events is a
  subtraction.

With a journal, one cursor of the journal fills the window instead of taps, and a client that is
older than the window reads the journal.

A client reads with ``take``, which returns at once. When nothing is left, the client is called back
once, when there is something to take again.

Read the modules in this order; each imports only from those before it:
cursors, grant, record, view, window, group_log, group, filling, catch_up, journal_feed, place,
idle_groups, streams.

Promises:

* For each place, the received events and the events that are reported as missed are all visible
  events that match its bindings, in order and each once. This also holds for a client that
  continues from a cursor; a gap whose size is not known has the count ``None``.
* No place continues at the end without a report of the events before it.
* A place never receives an event outside its grant, nor an account above the grant.
* A place does not delay an emit, is not counted by ``emit``, ``drain`` or ``subscriptions``, and
  does not count as interest unless that is requested.
* The window is bounded by count and bytes at every moment.
"""

from edr.streams.cursors import parse_cursor
from edr.streams.grant import Grant
from edr.streams.place import Place
from edr.streams.record import Missed, MissedReason, Record, Taken
from edr.streams.streams import Streams, StreamsStatistics

__all__ = [
    "Grant",
    "Missed",
    "MissedReason",
    "Place",
    "Record",
    "Streams",
    "StreamsStatistics",
    "Taken",
    "parse_cursor",
]
