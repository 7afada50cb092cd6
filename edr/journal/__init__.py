"""The durable record of events: what the bus delivers is gone with the process, this stays.

Promises, of every journal:

* **Stored.** ``append``, ``flush`` and a durable emit return when the events are stored, and raise
  when any of them was not.
* **Order.** Positions rise in the order of the emits; a consumer sees them rising.
* **A position is one event's for ever**, also after a crash.
* **Seen is stored.** A consumer sees nothing that a crash could still forget.
* **No hole, no double.** ``cursor(after=P)`` gives every wanted entry behind P once, on whatever
  side of "now" it is.
* **At least once.** What a named consumer did not acknowledge comes again.
* **Loss is told.** What retention or damage takes shows as a ``Gap`` in its place, and is counted
  for each consumer; reading goes on at the oldest entry left.
* **Isolation.** A consumer that hangs holds up nobody.
* **Nothing is thrown away by mistake**: no wrong argument, version or name destroys a backlog.

Not promised: exactly once; order after ``nack``; one transaction with a database of yours;
secrecy of what is stored.

Read the modules in this order; each imports only from those before it:
errors, journal, receipts, codec, selection, folder, schema, pages, salvage, copying, opening,
trail, retention, fetching, clock, batch, store, appender, closing, worker, tail, following,
cursor, consumer, sqlite, __main__.
"""

from edr.journal.errors import (
    ConsumerInUseError,
    EventsRefusedError,
    JournalError,
    JournalFullError,
    JournalInUseError,
    JournalUnusableError,
    Refusal,
    WrongJournalError,
)
from edr.journal.journal import (
    Consumer,
    ConsumerStatus,
    Cursor,
    Entry,
    Journal,
    JournalStatistics,
)
from edr.journal.sqlite import SqliteJournal

__all__ = [
    "Consumer",
    "ConsumerInUseError",
    "ConsumerStatus",
    "Cursor",
    "Entry",
    "EventsRefusedError",
    "Journal",
    "JournalError",
    "JournalFullError",
    "JournalInUseError",
    "JournalStatistics",
    "JournalUnusableError",
    "Refusal",
    "SqliteJournal",
    "WrongJournalError",
]
