"""Journals: durable, ordered records of events that outlive the process.

Promises of every journal:

* **Durability.** ``append``, ``flush`` and a durable emit return after the events are stored, and
  raise if any of them was not stored.
* **Order.** Positions rise in the order of the emits. Consumers receive rising positions.
* **Unique positions.** A position is never given to two events, even after a crash.
* **Committed reads.** A consumer receives only entries that a crash cannot take back.
* **Completeness.** ``cursor(after=P)`` returns each matching entry after P once, stored or future.
* **At least once.** A named consumer receives unacknowledged entries again.
* **Reported loss.** A ``Gap`` stands in the place of entries lost to retention or damage, and each
  consumer counts its losses. Reading continues at the oldest remaining entry.
* **Isolation.** A consumer that hangs does not block others.
* **No accidental deletion.** A wrong argument, version or name never deletes stored entries.

Not promised: exactly-once delivery; order after ``nack``; one transaction with another database;
encryption of stored events.

Read the modules in this order; each imports only from those before it:
errors, journal, options, batches, processing, draining, receipts, codec, selection, folder, schema,
cells, pages, salvage, copying, opening, compaction, retention, blocks, fetching, tree, log_frames,
snapshot, clock, batch, store, appender, closing, worker, recent, state, following, cursor,
consumer, registry, committing, sqlite, fallback, tailing, inspection.
"""

from edr.journal.batches import EntryBatches
from edr.journal.errors import (
    AttemptsExceededError,
    ConsumerInUseError,
    EventsRefusedError,
    JournalError,
    JournalFullError,
    JournalInUseError,
    JournalUnusableError,
    Refusal,
    WrongJournalError,
)
from edr.journal.fetching import Lost
from edr.journal.inspection import DamageReport, JournalFiles, JournalSummary, StoredConsumer
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
    "AttemptsExceededError",
    "Consumer",
    "ConsumerInUseError",
    "ConsumerStatus",
    "Cursor",
    "DamageReport",
    "Entry",
    "EntryBatches",
    "EventsRefusedError",
    "Journal",
    "JournalError",
    "JournalFiles",
    "JournalFullError",
    "JournalInUseError",
    "JournalStatistics",
    "JournalSummary",
    "JournalUnusableError",
    "Lost",
    "Refusal",
    "SqliteJournal",
    "StoredConsumer",
    "WrongJournalError",
]
