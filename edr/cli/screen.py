"""``Screen``: the alternate screen of a terminal, with single keys as input.

The terminal is restored at every end: the end of the block, an exception, Ctrl-C, SIGTERM and
SIGHUP. Ctrl-Z restores it for the time that the process is stopped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from edr.cli.cells import Segment

try:
    import termios
    import tty
except ImportError:  # pragma: no cover - Windows
    termios = None  # type: ignore[assignment]

STYLES = {
    "critical": "bold red",
    "warning": "yellow",
    "dim": "dim",
    "bold": "bold",
    "key": "cyan",
    "": "",
}


class Screen:
    """A full screen that shows lines. A context manager, within a running loop.

    Args:
        on_key: called with each character that is typed.
        on_resize: called when the size of the terminal has changed.
        stdout: the terminal.
        stdin: the keyboard; ignored if it is not a terminal.
    """

    def __init__(
        self,
        on_key: Callable[[str], object],
        on_resize: Callable[[], object],
        *,
        stdout: TextIO | None = None,
        stdin: TextIO | None = None,
    ) -> None:
        self._on_key = on_key
        self._on_resize = on_resize
        self._console = Console(file=sys.stdout if stdout is None else stdout, highlight=False)
        self._stdin = sys.stdin if stdin is None else stdin
        self._live = self._new_live()
        self._saved: list[object] | None = None
        self._task: asyncio.Task[object] | None = None
        self._ended_by: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the terminal at this moment."""
        width, height = self._console.size
        return width, height

    def show(self, lines: Sequence[Sequence[Segment]]) -> None:
        """Replace the contents of the screen, without clearing it first."""
        text = Text("\n", no_wrap=True, end="").join(
            Text.assemble(*((text, STYLES.get(style, "")) for text, style in line), end="")
            for line in lines
        )
        text.no_wrap, text.overflow = True, "crop"
        self._live.update(text, refresh=True)

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        try:
            self._start()
            for number, handler in self._handlers().items():
                loop.add_signal_handler(number, handler)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in self._handlers():
            loop.remove_signal_handler(number)
        self._stop()
        if self._ended_by is not None:  # the default action, now that the terminal is restored
            signal.signal(self._ended_by, signal.SIG_DFL)
            os.kill(os.getpid(), self._ended_by)

    def _handlers(self) -> dict[int, Callable[[], object]]:
        return {
            signal.SIGWINCH: self._on_resize,
            signal.SIGTSTP: self._suspend,
            signal.SIGTERM: lambda: self._end(signal.SIGTERM),
            signal.SIGHUP: lambda: self._end(signal.SIGHUP),
        }

    def _end(self, number: int) -> None:
        self._ended_by = number
        if self._task is not None:
            self._task.cancel()

    def _suspend(self) -> None:
        self._stop()
        os.kill(os.getpid(), signal.SIGSTOP)
        # The process was continued.
        self._live = self._new_live()
        self._start()
        self._on_resize()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _start(self) -> None:
        if termios is not None and self._stdin.isatty():
            descriptor = self._stdin.fileno()
            self._saved = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor)
            asyncio.get_running_loop().add_reader(descriptor, self._read)
        self._live.start()

    def _stop(self) -> None:
        if self._saved is not None:
            descriptor = self._stdin.fileno()
            asyncio.get_running_loop().remove_reader(descriptor)
            with suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None
        with suppress(OSError, ValueError):  # the terminal is gone
            self._live.stop()

    def _read(self) -> None:
        try:
            typed = os.read(self._stdin.fileno(), 1024)
        except OSError:
            typed = b""
        if not typed:  # the terminal is gone
            self._end(signal.SIGHUP)
        for character in typed.decode(errors="replace"):
            self._on_key(character)
