"""The parts of every component that delivers events out of a bus: links, and the program's sinks.

* ``Outbox``: the events to send, until each is confirmed: in memory, or in a journal.
* ``Reconnector``: connects, serves the connection until it is lost, and tries again.
* ``FaultLog``: logs faults under the component's name, each kind once in 30 seconds.
* ``Service``: what a bus starts and ends such a component by.

A component *has* these parts and gives them callbacks. They contain nothing of brokers.

Read the modules in this order; each imports only from those before it:
outbox, dropped_entries, journal_outbox, fault_log, reconnector.
"""

from edr.bus import Service
from edr.delivery.dropped_entries import KeepDropped
from edr.delivery.fault_log import FaultLog
from edr.delivery.journal_outbox import JournalOutbox
from edr.delivery.outbox import MemoryOutbox, Outbox, OutboxStatistics
from edr.delivery.reconnector import (
    DISCONNECT_TIMEOUT,
    FIRST_DELAY,
    MAX_DELAY,
    ConnectionState,
    Reconnector,
)

__all__ = [
    "DISCONNECT_TIMEOUT",
    "FIRST_DELAY",
    "MAX_DELAY",
    "ConnectionState",
    "FaultLog",
    "JournalOutbox",
    "KeepDropped",
    "MemoryOutbox",
    "Outbox",
    "OutboxStatistics",
    "Reconnector",
    "Service",
]
