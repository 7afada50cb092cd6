"""``EdrRun``: ``edr run`` as a process, with its log lines and its reloads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import edr
import edr.control

START_TIMEOUT = 60.0
"""Seconds until the application runs, on a machine that is busy."""

STOP_TIMEOUT = 60.0
"""Seconds until the process has ended after SIGTERM: more than each ``shutdown_timeout`` here."""


PACKAGES = str(Path(edr.__file__).parents[1])
"""The process has another working folder, and uses the same edr."""


class EdrRun:
    """Starts and stops ``edr run edr.toml`` in one folder, many times.

    Args:
        folder: has the configuration and the data.
        configuration: the text of ``edr.toml``.
        command: another program that logs when it runs; by default ``edr run``.
    """

    def __init__(
        self, folder: Path, configuration: str, command: Sequence[str | Path] = ()
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        """Its log, of all starts."""
        self.path = folder / "edr.toml"
        self.path.write_text(configuration)
        self._command = command or (sys.executable, "-m", "edr", "run", self.path)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._logged = asyncio.Condition()

    async def start(self) -> None:
        """Start the process. It does not wait until the application runs."""
        self._process = await asyncio.create_subprocess_exec(
            *map(str, self._command),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": PACKAGES},
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def running(self) -> None:
        """Start the process, and wait until the application runs."""
        first = len(self.lines)
        await self.start()
        await self.logged(lambda line: "the application runs" in line, first)

    async def reload(self, configuration: str) -> dict[str, Any]:
        """Write a configuration, request a reload, and return its result.

        Raises:
            edr.control.RemoteError: it was refused.
        """
        self.path.write_text(configuration)
        [found] = [each for each in edr.control.find() if each.pid == self.pid]
        async with await edr.control.connect(found.path) as client:
            answer = await client.ask("reload")
        result: dict[str, Any] = answer["result"]
        return result

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, or was never started."""
        return self._process is None or self._process.returncode is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        if self._process is None:
            return 0
        self.send(number)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                status = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"edr run did not end: {self.tail()}") from None
        assert self._reading is not None
        await self._reading
        return status

    async def logged(self, matches: Callable[[str], bool], first: int) -> str:
        """Wait for a matching log line, from line number ``first`` on, and return it."""
        async with asyncio.timeout(START_TIMEOUT), self._logged:
            while True:
                for line in self.lines[first:]:
                    if matches(line):
                        return line
                assert not self.has_ended, self.tail()
                first = len(self.lines)
                await self._logged.wait()

    def tail(self) -> str:
        """Return its last log lines."""
        return "".join(self.lines[-30:])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            async with self._logged:
                self.lines.append(line.decode(errors="replace"))
                self._logged.notify_all()
        async with self._logged:
            self._logged.notify_all()
