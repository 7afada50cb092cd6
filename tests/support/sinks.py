"""Sinks for tests: ``MemorySink`` keeps what it gets, and does what a script says."""

import asyncio
from datetime import UTC, datetime

import edr
from edr.journal import Entry


class MemorySink:
    """Keeps each batch. ``faults`` are raised by the next calls of ``write``, one each.

    A fault is an exception, or a function of the batch that returns one or ``None``. ``None``
    delivers. With ``hold()`` a write waits until ``release()``.
    """

    def __init__(self, *faults, open_faults=()):
        self.faults = list(faults)
        self.open_faults = list(open_faults)
        self.calls = []
        """The numbers of each batch that was written, delivered or not."""
        self.delivered = []
        self.opened = 0
        self.closed = 0
        self.cancelled = 0
        self.is_writing = asyncio.Event()
        self._gate = asyncio.Event()
        self._gate.set()

    async def open(self):
        self.opened += 1
        await asyncio.sleep(0)
        if self.open_faults and (fault := self.open_faults.pop(0)) is not None:
            raise fault

    async def write(self, batch):
        self.calls.append([event.body["n"] for event in batch])
        self.is_writing.set()
        try:
            await asyncio.sleep(0)
            await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        fault = self.faults.pop(0) if self.faults else None
        if callable(fault):
            fault = fault(batch)
        if fault is not None:
            raise fault
        self.delivered += [event.body["n"] for event in batch]

    async def aclose(self):
        self.closed += 1

    def hold(self):
        self.is_writing.clear()
        self._gate.clear()

    def release(self):
        self._gate.set()


class FailingSink(MemorySink):
    """Raises ``error`` in each write."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    async def write(self, batch):
        self.faults = [self.error]
        await super().write(batch)


class MemoryLog:
    """A journal in memory, for virtual time: entries, and the positions that were acknowledged."""

    def __init__(self):
        self.entries = []
        self.acked = []
        self.changed = asyncio.Event()

    def put(self, *events, at=None):
        """Store events, or ``Gap`` items, and return nothing; ``at`` is their time."""
        for event in events:
            item = event
            if not isinstance(event, edr.Gap):
                item = Entry(len(self.entries) + 1, at or datetime.now(UTC), event)
            self.entries.append(item)
        self.changed.set()

    @property
    def delivered(self):
        """The numbers of the acknowledged events."""
        return [self.entries[position - 1].event.body["n"] for position in self.acked]


class MemoryIntake:
    """An ``Intake`` of a ``MemoryLog``. A new one begins at the first unacknowledged entry."""

    subscription = None

    def __init__(self, log, *bindings, is_durable=True):
        self.log = log
        self.bindings = bindings
        self.is_durable = is_durable
        self.position = next(
            (n for n, item in enumerate(log.entries) if n + 1 not in log.acked), len(log.entries)
        )
        self.is_open = False
        self.has_ended = False
        self.errors = []

    async def open(self, batch_size):
        self.is_open = True

    async def take(self, limit):
        while True:
            if self.errors:
                raise self.errors.pop(0)
            found = self.log.entries[self.position : self.position + limit]
            self.position += len(found)
            wanted = [item for item in found if self._matches(item)]
            if wanted or self.has_ended:
                return wanted
            if not found:
                self.log.changed.clear()
                await self.log.changed.wait()

    def _matches(self, item):
        if isinstance(item, edr.Gap) or not self.bindings:
            return True
        return any(binding.matches(item.event) for binding in self.bindings)

    def ack(self, *entries):
        self.log.acked += [entry.position for entry in entries]

    async def rebind(self, *bindings):
        self.bindings = bindings

    def behind(self):
        return len(self.log.entries) - self.position

    def lost(self):
        return {}

    def shutdown(self):
        pass

    def end(self):
        """Return nothing after the entries of now."""
        self.has_ended = True
        self.log.changed.set()

    async def aclose(self):
        self.is_open = False


class RecordedAlerts:
    """Keeps what is reported, instead of ``Alerts``."""

    def __init__(self):
        self.troubles = []
        self.losses = []

    def trouble(self, severity, state, reason):
        self.troubles.append((str(severity), str(state), reason))

    def recovered(self):
        self.troubles.append("recovered")

    def lost(self, reason, count):
        self.losses.append((reason, count))

    def aclose(self):
        pass
