"""A program in a pseudo-terminal, as a person runs it."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""Sequences that switch to the alternate screen and back."""


class PseudoTerminal:
    """A pseudo-terminal, with the program in it."""

    def __init__(self, program, *, columns=80, environ=None):
        self.controller, self._terminal = pty.openpty()
        termios.tcsetwinsize(self._terminal, (24, columns))
        self.before = termios.tcgetattr(self._terminal)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
        environment |= environ or {}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            program,
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
            env=environment,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - makes no thread
        )
        self.written = b""
        self._found = 0

    def wait_for(self, text, timeout=20.0):
        """Read until ``text`` was written, after the text that the last call found."""
        deadline = time.monotonic() + timeout
        while (at := self.written.find(text, self._found)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, self.written
            if select.select([self.controller], [], [], left)[0]:
                self.written += os.read(self.controller, 65536)
        self._found = at + len(text)

    def type(self, keys):
        os.write(self.controller, keys)

    def end(self):
        """Wait for the end; return the exit code."""
        code = self.process.wait(20)
        while select.select([self.controller], [], [], 0)[0]:
            self.written += os.read(self.controller, 65536)
        return code

    @property
    def is_restored(self):
        left = self.written.rfind(LEAVE)
        has_left = left > self.written.rfind(ENTER) >= 0
        has_cursor = self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        return has_left and has_cursor and termios.tcgetattr(self._terminal) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.controller)
        os.close(self._terminal)
