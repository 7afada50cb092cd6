"""What does it cost to start `edr tail`, until it has printed an event?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.harness import Settings, main, noise_of
from benchmarks.harness.table import Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST = 150e6
"""ns of CPU that `edr tail` may take."""

SERVICE = """
import asyncio, edr, edr.control
async def main():
    async with edr.Bus() as bus, edr.control.expose(bus, name="bench", history=10):
        await bus.emit("bench", "1", "ok", "info", {"n": 1})
        print("ready", flush=True)
        await asyncio.to_thread(input)
asyncio.run(main())
"""

PROGRAMS = {
    "python -c pass": ("-c", "pass"),
    "import asyncio": ("-c", "import asyncio"),
    "import asyncio, cyclopts": ("-c", "import asyncio, cyclopts"),
    "edr tail": ("-m", "edr", "tail", "bench", "-n", "1", "--count", "1"),
}


@contextmanager
def _service(environment: Mapping[str, str]) -> Iterator[None]:
    """Run a process that is exposed as ``bench``."""
    command = [sys.executable, "-c", SERVICE]
    with subprocess.Popen(  # noqa: S603
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.stdin.write(b"\n")


def _cpu(arguments: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """Return the ns of CPU, user and system, of a whole process."""
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    assert status == 0, (arguments, status)
    return (usage.ru_utime + usage.ru_stime) * 1e9


def run(settings: Settings) -> Table:
    costs: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "EDR_RUNTIME_DIR": str(Path(folder) / "edr")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
        with _service(environment):
            for arguments in PROGRAMS.values():
                _cpu(arguments, environment)
            for _ in range(settings.rounds):
                for name, arguments in PROGRAMS.items():
                    costs[name].append(_cpu(arguments, environment))
    return Table(
        "What does it cost to start `edr tail`, until it has printed an event?",
        [
            Row(
                name,
                min(samples),
                noise=noise_of(samples),
                limit=MOST if name == "edr tail" else None,
                ours=name == "edr tail",
            )
            for name, samples in costs.items()
        ],
        per="process",
        notes="User and system CPU of a whole process: the least, since load only adds to it.",
    )


if __name__ == "__main__":
    main(run)
