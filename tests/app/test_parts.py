"""Parts: sources as the application starts and ends them."""

import asyncio

from support import shuffled_loop

from app.fakes import FakePart
from edr.app.parts import PartRunner, SourcePart


class FakeSource:
    name = "local"

    def __init__(self, stop_takes=0.0):
        self.log = []
        self.stop_takes = stop_takes

    async def start(self):
        self.log.append("start")

    async def stop(self):
        self.log.append("stop")
        await asyncio.sleep(self.stop_takes)

    async def aclose(self):
        self.log.append("close")

    def status(self):
        return {"state": "running"}


def test_the_drain_of_a_source_has_a_limit():
    async def main():
        source = FakeSource(stop_takes=100)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await SourcePart(source).drain(5)
        return source.log, loop.time() - began

    log, took = shuffled_loop.run(main)
    assert log == ["stop", "close"]
    assert took < 6


def test_a_runner_shows_why_its_part_could_not_start():
    async def main():
        part = FakePart([], "sink", "a", None, {("a", "start"): OSError("no disk")})
        runner = PartRunner(part)
        await runner.start()
        shown = runner.shown
        await runner.aclose()
        return shown is runner, shown.status()

    assert shuffled_loop.run(main) == (True, {"state": "failed", "error": "no disk"})


def test_a_runner_returns_the_events_that_are_left():
    async def main():
        part = FakePart([], "sink", "a", None, {})
        part.left = 7
        runner = PartRunner(part)
        await runner.start()
        return await runner.end(1)

    assert shuffled_loop.run(main) == 7
