"""Streams as a command sees them: a terminal of some width, and a pipe."""

import io


class Terminal(io.TextIOWrapper):
    """A terminal that keeps what is written to it."""

    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace")

    def isatty(self):
        return True

    @property
    def written(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)

    @property
    def lines(self):
        return self.written.splitlines()


class Pipe(Terminal):
    """A pipe that keeps what is written to it."""

    def isatty(self):
        return False
