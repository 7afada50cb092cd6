"""Parts as the application starts and ends them."""

from support import shuffled_loop

from app.fakes import FakePart
from edr.app.parts import PartRunner


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
