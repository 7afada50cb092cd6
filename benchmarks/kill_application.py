"""Does ``edr run`` lose an accepted event when it is killed, or stopped?

Clients send events to its socket. Its journal, which syncs the disk, has a file sink and an HTTP
sink, whose receiver fails, resets and stalls some requests. The process gets SIGKILL and SIGTERM in
turns, at random moments: also while it starts, and while a sink is retrying. At the end both sinks
must have delivered each accepted event, in order. A kill repeats the batch that was being written,
and those whose acknowledgements were not stored yet: less than two batches on average. The bound is
the number of entries that a consumer may have unacknowledged.

    python -m benchmarks.kill_application --kills 50 --stops 50
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.application.deliveries import Deliveries, FileDeliveries
from benchmarks.application.load import Load
from benchmarks.application.process import EdrRun
from benchmarks.application.receiver import Receiver

BATCH = 100

BOUND = 1024
"""Events that one sink may deliver again after a kill, at most: ``max_unacked`` of its consumer."""

USUAL = 2 * BATCH
"""Events that one sink should deliver again after a kill, on average at most."""

ENOUGH = 20
"""Kills for a mean."""

STARTING_SHARE = 0.2
"""The share of the signals that are sent at any moment from the start of the process on. The others
come after it has accepted events."""

LONGEST_START = 1.5
LONGEST_RUN = 1.0
"""Seconds until a signal, at most."""

CATCH_UP_TIMEOUT = 120.0
"""Seconds for the sinks to deliver the rest at the end."""

CONFIGURATION = f"""
journal = {{ sync = "disk" }}
app = {{ shutdown_timeout = 5 }}
sources.in = {{ type = "socket", path = "in.sock" }}
[sinks.audit]
type = "file"
path = "audit.jsonl"
batch = {{ events = {BATCH} }}
rotate = {{ size = "1 MiB", keep = 1000 }}
bindings = [{{ app_name = "load" }}]
[sinks.alarms]
type = "http"
url = "http://127.0.0.1:PORT/"
timeout = 0.5
batch = {{ events = {BATCH} }}
retry = {{ base = 0.05, cap = 0.5 }}
bindings = [{{ app_name = "load" }}]
"""

SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@dataclass
class Result:
    """What became of the events."""

    signals: Counter[str] = field(default_factory=Counter)
    in_retry: int = 0
    """Signals that met the HTTP sink after a failed request, or in one that stalled."""
    accepted: int = 0
    delivered: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    disordered: dict[str, int] = field(default_factory=dict)
    doubled: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Signal and sink -> for each signal, the events that the sink delivered again after it."""
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    responses: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    cut: int = 0

    @property
    def usually_doubled(self) -> float:
        """The mean of the repetitions of a sink after a kill, if there were enough of them."""
        kills = [each for (name, _), each in self.doubled.items() if name == "SIGKILL"]
        kills = [each for each in kills if len(each) >= ENOUGH]
        return max((sum(each) / len(each) for each in kills), default=0.0)

    def most_doubled(self, name: str) -> int:
        """Return the most repetitions of a sink after one signal of this name."""
        return max((max(each) for (of, _), each in self.doubled.items() if of == name), default=0)

    @property
    def is_as_promised(self) -> bool:
        """Whether nothing is lost, the order is right, and repetitions are within the bound."""
        stops = self.statuses.get("SIGTERM", Counter())
        return (
            self.accepted > 0
            and not any(self.lost.values())
            and not any(self.disordered.values())
            and self.most_doubled("SIGKILL") <= BOUND
            and self.usually_doubled <= USUAL
            and self.most_doubled("SIGTERM") == 0
            # A signal may come before Python has a handler for it.
            and set(stops) <= {0, -signal.SIGTERM}
        )

    def __str__(self) -> str:
        lines = [f"signals     {_counts(self.signals)}; {self.in_retry} of them in a retry"]
        for name, statuses in self.statuses.items():
            lines.append(f"  {name:<9} exit statuses: {_counts(statuses)}")
        lines.append(f"responses   {_counts(self.responses)}")
        lines.append(f"accepted    {self.accepted:,}")
        for sink, delivered in self.delivered.items():
            lines.append(
                f"{sink:<11} delivered {delivered:,}, lost {self.lost[sink]},"
                f" out of order {self.disordered[sink]}"
            )
            for (name, of), doubled in self.doubled.items():
                if of == sink:
                    mean = sum(doubled) / len(doubled)
                    over = sum(each > USUAL for each in doubled)
                    lines.append(
                        f"  {name:<9} doubled {sum(doubled):,}: {mean:.1f} for each,"
                        f" at most {max(doubled)}, {over} times more than two batches"
                    )
        lines.append(f"also repeated: {self.unanswered:,} stored by the receiver without an answer")
        lines.append(f"lines of the file cut by a kill: {self.cut}")
        return "\n".join(lines)


def _counts(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counter.items()))


class Chaos:
    """Sends signals to ``edr run`` in ``folder`` while it is under load.

    Args:
        folder: has the configuration and the data.
        seed: of the moments, the load and the faults.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._receiver = Receiver(seed=seed)
        self._file = FileDeliveries(folder / "audit.jsonl")
        self._load = Load(folder / "in.sock", seed=seed)
        self._folder = folder
        self._result = Result()
        self._causes: dict[str, str] = {}
        """Sink -> the signal that causes the repetitions of the process that runs."""

    @property
    def _sinks(self) -> dict[str, Deliveries]:
        return {"audit": self._file, "alarms": self._receiver.answered}

    async def run(self, kills: int, stops: int) -> Result:
        """Send the signals in random order, and return what became of the events."""
        rounds = [signal.SIGKILL] * kills + [signal.SIGTERM] * stops
        self._random.shuffle(rounds)
        async with self._receiver:
            text = CONFIGURATION.replace("PORT", str(self._receiver.port))
            program = EdrRun(self._folder, text)
            try:
                async with self._load.sending():
                    for number in rounds:
                        await self._round(program, number)
                        self._count(number)
                    await program.running()
                self._receiver.end_faults()
                await self._caught_up(program)
                await program.end(signal.SIGTERM)
                self._count(signal.SIGTERM)
            finally:
                await program.end(signal.SIGKILL)
        return self._ended()

    async def _round(self, program: EdrRun, number: signal.Signals) -> None:
        await program.start()
        if self._random.random() < STARTING_SHARE:
            await asyncio.sleep(self._random.uniform(0, LONGEST_START))
        else:
            await self._load.wait_accepted(1)
            await asyncio.sleep(self._random.uniform(0, LONGEST_RUN))
        self._result.in_retry += self._receiver.last not in {"204", ""}
        status = await program.end(number)
        self._result.signals[number.name] += 1
        self._result.statuses.setdefault(number.name, Counter())[status] += 1

    def _count(self, number: signal.Signals) -> None:
        """Count the repetitions of the process that ``number`` has ended."""
        self._file.read()
        for sink, deliveries in self._sinks.items():
            repeated, has_new = deliveries.end_period()
            cause = self._causes.get(sink)
            if cause is not None:
                self._result.doubled.setdefault((cause, sink), []).append(repeated)
            # A process that was stopped before its first new delivery leaves the repetitions of an
            # earlier kill to the next process.
            if number is signal.SIGKILL or has_new:
                self._causes[sink] = number.name

    async def _caught_up(self, program: EdrRun) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT):
                while any(each.lost(self._load.accepted) for each in self._sinks.values()):
                    await asyncio.sleep(0.1)
                    self._file.read()
        except TimeoutError:
            print(program.tail(), file=sys.stderr)  # the events that are missing are counted

    def _ended(self) -> Result:
        result = self._result
        result.accepted = len(self._load.accepted)
        for sink, deliveries in self._sinks.items():
            result.delivered[sink] = len(deliveries.numbers)
            result.lost[sink] = deliveries.lost(self._load.accepted)
            result.disordered[sink] = deliveries.disordered
        result.responses = self._receiver.responses
        result.unanswered = self._receiver.unanswered
        result.cut = self._file.cut
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how often it gets SIGKILL")
    parser.add_argument("--stops", type=int, default=50, help="how often it gets SIGTERM")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), arguments.seed)
        result = asyncio.run(chaos.run(arguments.kills, arguments.stops))
    print(result)
    return 0 if result.is_as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
