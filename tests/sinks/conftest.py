"""A worker on a log in memory, in virtual time, and the alerts of it."""

import asyncio

import pytest
from contracts.journal import event
from support.shuffled_loop import run
from support.sinks import MemoryIntake, MemoryLog

import edr
from edr.sinks import DeadLetters, SinkWorker


class Rig:
    """One bus for the alerts, one log, and dead letters in the folder of the test."""

    def __init__(self, path, bus):
        self.bus = bus
        self.log = MemoryLog()
        self.dead_letters = DeadLetters(path / "dead" / "s.jsonl")
        self.alerts = []
        self.intake = None
        bus.bind(edr.Binding(app_name="edr", verbosity="trace"), self._alert)

    def _alert(self, alert):
        self.alerts.append((str(alert.severity), alert.body["state"], alert.body.get("lost")))

    def worker(self, sink, *bindings, name="s", **options):
        self.intake = MemoryIntake(self.log, *bindings)
        self.intake.is_durable = options.pop("is_durable", True)
        dead_letters = options.pop("dead_letters", self.dead_letters)
        options = {"dead_letters": dead_letters, "bus": self.bus, **options}
        return SinkWorker(name, sink, options.pop("intake", self.intake), **options)

    def emit(self, *numbers, app_name="app", **fields):
        self.log.put(*[event(n, app_name) for n in numbers], **fields)

    def dead(self):
        return [(each.event.body["n"], each.reason) for each in self.dead_letters.read()]


@pytest.fixture
def in_rig(tmp_path):
    """Run ``scenario(rig)`` in virtual time, and close its bus."""

    def in_rig(scenario, seed=None):
        async def main():
            async with edr.Bus(node="test") as bus:
                rig = Rig(tmp_path, bus)
                async with asyncio.timeout(86_400):
                    return await scenario(rig)

        return run(main, seed)

    return in_rig
