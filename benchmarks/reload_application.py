"""Does ``edr run`` lose events, or touch unchanged parts, when it is reloaded under load?

Clients send events to its socket. Each reload changes some parts at random: bindings, options, a
sink that comes and goes, and a sink whose receiver never answers. One sink never changes. Faulty
files come between: a reload must refuse them and change nothing. At the end each sink but the one
that hangs must have delivered each accepted event once, in order.

The pause of a sink is the longest time between two of its requests, from the reload of its bindings
until 0.1 s after it. The same time in reloads that do not change the sink is shown next to it.

    python -m benchmarks.reload_application --reloads 200
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from time import monotonic

from benchmarks.application.deliveries import Deliveries, FileDeliveries
from benchmarks.application.load import Load
from benchmarks.application.process import EdrRun
from benchmarks.application.receiver import Receiver
from edr.control import RemoteError

AFTER = 0.1
"""Seconds after a reload in which a pause still counts as one of the reload."""

FAULTY_SHARE = 0.4
"""The share of the reloads before which a faulty file is reloaded."""

CATCH_UP_TIMEOUT = 60.0
"""Seconds for the sinks to deliver the rest at the end."""

EVERY = '[{ app_name = "load" }]'
SPLIT = '[{ app_name = "load", severity = "critical" }, { app_name = "load", severity = "ok" }]'
BINDINGS = (EVERY, SPLIT)
"""Two ways to match the same events, so that no reload changes what a sink must deliver."""

FAULTY = (
    "sources = {",
    "sinks.audit.pahh = 1\n",
    '[sinks.bad]\ntype = "file"\npath = "bad.jsonl"\nbindings = [{ severity = "urgent" }]\n',
    '[sinks.bad]\ntype = "http"\nurl = { env = "EDR_NOT_SET" }\n',
    '[sinks.bad]\ntype = "file"\npath = "audit.jsonl"\n',
    'journal = { max_bytes = "2 GiB" }\n',
)
"""What makes a file faulty: TOML, a key, a value, a secret, a path used twice, a fixed setting."""


@dataclass
class State:
    """What a reload can change."""

    bindings: str = EVERY
    """Of the sink alarms."""
    timeout: int = 20
    """Of the sink alarms: an option."""
    has_extra: bool = True
    hanging_bindings: str = EVERY
    hanging_timeout: int = 30

    def change(self, choice: random.Random) -> None:
        """Change some of it at random."""
        if choice.random() < 0.5:
            self.bindings = choice.choice(BINDINGS)
        if choice.random() < 0.2:
            self.timeout = choice.choice((20, 21))
        if choice.random() < 0.3:
            self.has_extra = not self.has_extra
        if choice.random() < 0.3:
            self.hanging_bindings = choice.choice(BINDINGS)
        if choice.random() < 0.03:  # its request has ten seconds to end
            self.hanging_timeout = choice.choice((30, 31))

    def parts(self, port: int, hanging_port: int) -> dict[str, str]:
        """Return the name and the TOML of each part."""
        parts = {
            "app": "app = { shutdown_timeout = 3 }\n",  # the sink that hangs takes all of it
            "source in": '[sources.in]\ntype = "socket"\npath = "in.sock"\n',
            "sink audit": f'[sinks.audit]\ntype = "file"\npath = "audit.jsonl"\n'
            f"batch = {{ events = 100 }}\nbindings = {EVERY}\n",
            "sink alarms": '[sinks.alarms]\ntype = "http"\n'
            f'url = "http://127.0.0.1:{port}/"\nbatch = {{ events = 100 }}\n'
            f"timeout = {self.timeout}\nbindings = {self.bindings}\n",
            "sink hanging": '[sinks.hanging]\ntype = "http"\n'
            f'url = "http://127.0.0.1:{hanging_port}/"\n'
            f"timeout = {self.hanging_timeout}\nbindings = {self.hanging_bindings}\n",
        }
        if self.has_extra:
            parts["sink extra"] = (
                '[sinks.extra]\ntype = "file"\npath = "extra.jsonl"\n'
                f"batch = {{ events = 100 }}\nbindings = {EVERY}\n"
            )
        return parts


@dataclass
class Result:
    """What became of the events, and of the reloads."""

    reloads: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    faulty: int = 0
    faulty_accepted: int = 0
    """Faulty files that a reload did not refuse."""
    wrong: list[str] = field(default_factory=list)
    """Reloads that changed other parts than those that differ."""
    reopened: int = 0
    """How often the sink that never changes has opened its file again."""
    accepted: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, int] = field(default_factory=dict)
    disordered: dict[str, int] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)
    other_gaps: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    status: int = -1

    @property
    def is_as_promised(self) -> bool:
        """Whether nothing is lost, doubled or disordered, and no reload did anything else."""
        counts = [*self.lost.values(), *self.doubled.values(), *self.disordered.values()]
        faults = [*counts, self.faulty_accepted, len(self.wrong), self.reopened, self.status]
        return self.accepted > 0 and not any(faults)

    def __str__(self) -> str:
        changes = ", ".join(f"{name}: {count}" for name, count in sorted(self.changes.items()))
        lines = [
            f"reloads     {self.reloads}, {_spread(self.durations)}; {changes}",
            f"faulty      {self.faulty} files, {self.faulty_accepted} of them accepted",
            f"wrong       {len(self.wrong)} reloads {'; '.join(self.wrong[:3])}",
            f"untouched   the sink audit opened its file again {self.reopened} times",
            f"accepted    {self.accepted:,}; exit status {self.status}",
        ]
        lines += [
            f"{sink:<11} lost {self.lost[sink]}, doubled {self.doubled[sink]},"
            f" out of order {self.disordered[sink]}"
            for sink in self.lost
        ]
        lines.append(f"pause of a sink whose bindings were reloaded: {_spread(self.pauses)}")
        lines.append(f"between its requests in other reloads: {_spread(self.other_gaps)}")
        return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "not measured"
    high = quantiles(seconds, n=10, method="inclusive")[-1]
    return (
        f"median {median(seconds) * 1e3:.1f} ms, 90 % {high * 1e3:.1f} ms,"
        f" at most {max(seconds) * 1e3:.1f} ms"
    )


class Reloads:
    """Reloads ``edr run`` in ``folder`` while it is under load.

    Args:
        folder: has the configuration and the data.
        seed: of the changes, the faulty files and the load.
        hanging_options: whether the options of the sink that hangs change too, which takes 10 s.
    """

    def __init__(self, folder: Path, seed: int = 0, *, hanging_options: bool = True) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._hanging_options = hanging_options
        self._state = State()
        self._load = Load(folder / "in.sock", seed=seed, pause=0.01)
        self._receiver = Receiver({})
        self._hanging = Receiver({"stall": 100})
        self._audit = FileDeliveries(folder / "audit.jsonl")
        self._extra = FileDeliveries(folder / "extra.jsonl")
        self._result = Result()
        self._running: dict[str, str] = {}
        """The parts of the last reload."""
        self._descriptor: str | None = None
        """Of the file of the sink that never changes."""

    @property
    def _sinks(self) -> dict[str, Deliveries]:
        return {"audit": self._audit, "extra": self._extra, "alarms": self._receiver.answered}

    def _parts(self) -> dict[str, str]:
        return self._state.parts(self._receiver.port, self._hanging.port)

    async def run(self, reloads: int) -> Result:
        """Reload so often, and return what became of the events."""
        async with self._receiver, self._hanging:
            self._receiver.moments = []
            self._running = self._parts()
            program = EdrRun(self._folder, "".join(self._running.values()))
            try:
                await program.running()
                async with self._load.sending():
                    await self._load.wait_accepted(1)
                    self._descriptor_kept(program)
                    for _ in range(reloads):
                        await self._reload(program)
                        self._descriptor_kept(program)
                    self._state.has_extra = True
                    await self._change(program)
                await self._caught_up(program)
                self._result.status = await program.end(signal.SIGTERM)
            finally:
                await program.end(signal.SIGKILL)
        return self._ended()

    def _descriptor_kept(self, program: EdrRun) -> None:
        before = self._descriptor
        self._descriptor = _descriptor_of(program.pid, self._folder / "audit.jsonl")
        self._result.reopened += before not in (None, self._descriptor)

    async def _reload(self, program: EdrRun) -> None:
        if self._random.random() < FAULTY_SHARE:
            await self._refused(program)
        before = self._state.hanging_timeout
        self._state.change(self._random)
        if not self._hanging_options:
            self._state.hanging_timeout = before
        await self._change(program)
        await asyncio.sleep(self._random.uniform(0, 0.05))

    async def _refused(self, program: EdrRun) -> None:
        """Reload a faulty file, which also has changes that are right."""
        others = State(bindings=self._random.choice(BINDINGS), has_extra=False)
        parts = others.parts(self._receiver.port, self._hanging.port)
        self._result.faulty += 1
        try:
            await program.reload("".join(parts.values()) + self._random.choice(FAULTY))
        except RemoteError:
            return
        self._result.faulty_accepted += 1

    async def _change(self, program: EdrRun) -> None:
        """Reload the present state, and compare the changed parts with those that differ."""
        before, after = self._running, self._parts()
        self._running = after
        moments = self._receiver.moments
        assert moments is not None
        start = monotonic()
        result = await program.reload("".join(after.values()))
        end = monotonic()
        await asyncio.sleep(AFTER)
        window = [moment for moment in moments if start - AFTER < moment]
        moments.clear()
        expected = {name for name in before | after if before.get(name) != after.get(name)}
        changed = {text.rpartition(" ")[0]: text.rpartition(" ")[2] for text in result["changed"]}
        if set(changed) != expected or result["failed"]:
            self._result.wrong.append(f"{result}, expected {sorted(expected)}")
        self._result.reloads += 1
        self._result.changes.update(changed.values())
        self._result.durations.append(end - start)
        # The first gap may be one of before.
        gap = max((b - a for a, b in pairwise(window) if b > start), default=None)
        if gap is not None and "sink alarms" not in changed:
            self._result.other_gaps.append(gap)
        elif gap is not None and changed["sink alarms"] == "rebound":
            self._result.pauses.append(gap)

    async def _caught_up(self, program: EdrRun) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT):
                while any(each.lost(self._load.accepted) for each in self._sinks.values()):
                    await asyncio.sleep(0.1)
                    self._audit.read()
                    self._extra.read()
        except TimeoutError:
            print(program.tail(), file=sys.stderr)  # the events that are missing are counted

    def _ended(self) -> Result:
        result = self._result
        result.accepted = len(self._load.accepted)
        for sink, deliveries in self._sinks.items():
            result.lost[sink] = deliveries.lost(self._load.accepted)
            result.doubled[sink] = deliveries.repeated
            result.disordered[sink] = deliveries.disordered
        return result


def _descriptor_of(pid: int, path: Path) -> str | None:
    """Return the descriptor of an open file of a process; ``None`` where that is not known."""
    folder = Path(f"/proc/{pid}/fd")
    if folder.exists():
        for each in folder.iterdir():
            if each.readlink() == path:
                return each.name
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(Reloads(Path(folder), arguments.seed).run(arguments.reloads))
    print(result)
    return 0 if result.is_as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
