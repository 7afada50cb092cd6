"""``tail``: the events that match, as they are emitted.

A tail is a place in a log of ``edr.streams``. It has no queue: what it has not written is only a
distance, and events that leave the window before it writes them are counted. It takes events in the
moment in which they are written, so a client that does not read holds no event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edr.control.connection import Answers, RequestError
from edr.control.cpu_share import CpuShare
from edr.control.protocol import MAX_BATCH
from edr.control.tail_lines import TailLines
from edr.errors import BusClosedError
from edr.records import Binding
from edr.streams import Place, Streams

BATCH = 256
"""Events that are taken at once. Each costs a few microseconds, so a batch takes about 1 ms."""


class Tail:
    """One request ``tail``.

    Args:
        streams: gives the events.
        bindings: the events to show; without bindings, every event.
        after: a cursor; begin after this event.
        last: begin with this number of earlier events.
        wanted: let links request these events.
        follow: continue after the events that exist.
    """

    def __init__(
        self,
        streams: Streams,
        bindings: Sequence[Binding],
        *,
        after: str | None = None,
        last: int | None = None,
        wanted: bool = False,
        follow: bool = True,
    ) -> None:
        self._streams = streams
        self._bindings = bindings
        self._after = after
        self._last = last
        self._wanted = wanted
        self._follow = follow

    async def __call__(self, answers: Answers) -> None:
        """Write events until the request is stopped."""
        loop = asyncio.get_running_loop()
        share = CpuShare(loop.time)
        # Without this end, a tail of a busy bus that must not follow would never end.
        end = None if self._follow else self._streams.statistics().position
        lines = TailLines(answers)
        writer = _Writer(lines, end)
        ready = asyncio.Event()
        try:
            place = self._streams.join(
                *self._bindings,
                on_ready=ready.set,
                after=self._after,
                last=self._last,
                wanted=self._wanted,
            )
        except BusClosedError as exc:
            raise RequestError("bus_closed", str(exc)) from None

        def next_lines() -> bytes:
            share.start()
            ready.clear()  # it is set again after a take that returns nothing
            return writer.lines_of(place)

        try:
            while True:
                await answers.write(next_lines)
                share.stop()  # nothing was awaited since the start
                if writer.has_ended:
                    return
                if pause := share.pause():
                    await asyncio.sleep(pause)
                elif writer.has_taken:
                    await asyncio.sleep(0)
                elif place.filling or self._follow:
                    await ready.wait()
                else:
                    return
        except asyncio.CancelledError:
            if answers.is_closing:  # the events of the last moment, if the client reads
                await answers.write(next_lines)
            raise
        finally:
            self._streams.leave(place)
            answers.end = lines.counts


class _Writer:
    """Takes the events of one tail.

    Args:
        lines: makes their lines.
        end: the position of the last event to write.
    """

    def __init__(self, lines: TailLines, end: int | None) -> None:
        self.has_taken: bool = False
        """Whether the last call returned events."""
        self.has_ended: bool = False
        """Whether no further event will come: the bus has closed, or the end was reached."""
        self._lines = lines
        self._end = end

    def lines_of(self, place: Place) -> bytes:
        missed, records, self.has_ended = place.take(BATCH, MAX_BATCH)
        self.has_taken = bool(records)
        if self._end is not None and records and records[-1].position >= self._end:
            records = [each for each in records if each.position <= self._end]
            self.has_ended = True
        lines = []
        if missed is not None:
            lines.append(self._lines.gap(missed.count, missed.reason, missed.cursor))
        lines += [self._lines.event(record.cursor, record.json) for record in records]
        return b"".join(lines)
