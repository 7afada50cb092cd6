"""Output of the commands: data on stdout in one of three forms, messages on stderr.

Only data goes to stdout, so that it can be piped. ``auto`` is text on a terminal and JSON lines
otherwise. Lines are cut or wrapped on a terminal only. No text that comes from a process can
control the terminal: each line is escaped here, where it is written.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TextIO

import orjson
from cyclopts import Parameter

from edr.cli.cells import Segment, cut, wrap
from edr.cli.exits import CommandError, Exit, OutputClosedError
from edr.wire.escaping import UNSAFE, one_line

DEFAULT_WIDTH = 80
"""Columns of a terminal that does not report its width."""

SYMBOLS = {
    "critical": "■#",
    "warning": "▲!",
    "ok": "·.",
    "yes": "✓+",
    "no": "✗x",
    "rule": "─-",
    "ellipsis": "…~",
    "dot": "·-",
}
"""The shape of each meaning: in Unicode, and in ASCII for terminals of another encoding."""

STYLES = {
    "critical": "1;31",
    "warning": "33",
    "ok": "32",
    "yes": "32",
    "no": "31",
    "dim": "2",
    "bold": "1",
    "key": "36",
}
"""SGR parameters. They repeat a meaning that the text has too: colour is never the only sign."""

_PLAIN = re.compile(rf'[^\s"\\={{}}{UNSAFE}]+')
_NOT_TEXT = re.compile(r"-?\d[\d.eE+-]*|true|false|null")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_NOT_IN_KEYS = re.compile(rf'[\s"=%{UNSAFE}]')


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """The output flags of a command. A command has them as one argument ``output``."""

    output: Annotated[
        Literal["auto", "text", "json", "logfmt"],
        Parameter(
            ("-o", "--output"),
            help="auto is text on a terminal and JSON lines otherwise",
        ),
    ] = "auto"
    utc: Annotated[
        bool,
        Parameter("--utc", help="times in UTC; text has local time otherwise", negative=()),
    ] = False
    wrap: Annotated[
        bool,
        Parameter(
            "--wrap",
            help="wrap long lines on a terminal; they are cut otherwise",
            negative=(),
        ),
    ] = False


class Output:
    """Writes the data and the messages of one command.

    Attributes:
        form: ``text``, ``json`` or ``logfmt``.
        terminal: whether stdout is a terminal.
        utc: whether times are in UTC in text. They always are in JSON and logfmt.
    """

    def __init__(
        self,
        flags: OutputFlags | None = None,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        flags = OutputFlags() if flags is None else flags
        self._out = sys.stdout if stdout is None else stdout
        self._err = sys.stderr if stderr is None else stderr
        self._environ = environ
        self._wrap = flags.wrap
        self._has_unicode = _is_unicode(self._out)
        self._has_color = self._is_colored(self._out)
        self._err_has_color = self._is_colored(self._err)
        self.terminal: bool = self._out.isatty()
        self.form: Literal["text", "json", "logfmt"] = (
            ("text" if self.terminal else "json") if flags.output == "auto" else flags.output
        )
        self.utc: bool = flags.utc

    @property
    def width(self) -> int | None:
        """The columns of the terminal at this moment; ``None`` in a pipe or file."""
        if not self.terminal:
            return None
        try:
            return int(self._environ["COLUMNS"])
        except (KeyError, ValueError):
            pass
        try:
            return os.get_terminal_size(self._out.fileno()).columns or DEFAULT_WIDTH
        except (OSError, ValueError):  # a terminal without a size, or a stream without a file
            return DEFAULT_WIDTH

    def symbol(self, meaning: str) -> str:
        """Return the character for ``meaning``, one of ``SYMBOLS``, that stdout can show."""
        return SYMBOLS[meaning][0 if self._has_unicode else 1]

    def text(self, *segments: Segment, indent: int = 4, wrapped: bool = False) -> None:
        """Write a line of text. On a terminal it is cut at the right edge, or wrapped.

        Args:
            segments: the parts of the line, each with the name of a style or an SGR parameter.
            indent: the spaces before the second and further lines of a wrapped one.
            wrapped: wrap this line in every case, not only with ``--wrap``.
        """
        line = [(one_line(text), STYLES.get(style, style)) for text, style in segments]
        width = self.width
        if width is None:
            lines: Iterable[list[Segment]] = [line]
        elif wrapped or self._wrap:
            lines = wrap(line, width, indent)
        else:
            lines = [cut(line, width, self.symbol("ellipsis"))]
        for each in lines:
            self._write(_styled(each) if self._has_color else "".join(text for text, _ in each))

    def record(self, record: Mapping[str, Any]) -> None:
        """Write ``record`` as one line of JSON or logfmt, depending on ``form``."""
        if self.form == "logfmt":
            self._write(logfmt(record))
            return
        self._write_json(json_text(record))

    def bindings(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Write bindings as JSON, in the form that ``--binding`` reads."""
        self._write_json(json_text(documents[0] if len(documents) == 1 else list(documents)))

    def page(self, text: str) -> None:
        """Write ``text`` as it is: a page of help, whose lines have their width already."""
        if text:
            self._write(text.removesuffix("\n"))

    def note(self, text: str) -> None:
        """Write a message that only a person needs: nothing unless stderr is a terminal."""
        if self._err.isatty():
            self.message(text, "dim")

    def message(self, text: str, style: str = "") -> None:
        """Write a message to stderr. A message with line feeds has several lines."""
        for line in text.split("\n"):
            segment = (one_line(line), STYLES.get(style, style))
            try:
                self._err.write(_styled([segment]) if self._err_has_color else segment[0])
                self._err.write("\n")
                self._err.flush()
            except (OSError, ValueError):  # nothing reads the messages: the data still matters
                return

    def flush(self) -> None:
        """Hand written lines to the reader of stdout.

        Raises:
            OutputClosedError: the reader has ended.
            CommandError: stdout cannot be written, such as a full disk.
        """
        with _reporting_faults():
            self._out.flush()

    def _write(self, line: str) -> None:
        with _reporting_faults():
            self._out.write(f"{line}\n")

    def _write_json(self, text: str) -> None:
        # JSON has escapes of its own for the characters that the stream cannot write.
        self._write(text if self._has_unicode else _NOT_ASCII.sub(_escaped, text))

    def _is_colored(self, stream: TextIO) -> bool:
        if self._environ.get("NO_COLOR"):
            return False
        if self._environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and self._environ.get("TERM") != "dumb"


@contextmanager
def _reporting_faults() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ValueError) as exc:  # ValueError: the stream is closed
        raise OutputClosedError from exc
    except OSError as exc:
        raise CommandError(
            Exit.UNAVAILABLE, f"the output cannot be written: {exc.strerror}"
        ) from exc


def json_text(value: object) -> str:
    """Return ``value`` as JSON in one line, without characters that control a terminal."""
    return one_line(orjson.dumps(value).decode())


def logfmt(record: Mapping[str, Any]) -> str:
    """Return ``record`` as ``key=value`` pairs; members of objects are ``key.member=value``."""
    return " ".join(f"{key}={value}" for key, value in pairs(record))


def pairs(
    record: Mapping[str, Any], prefix: str = "", *, typed: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of ``logfmt``, quoted as ``edr.wire.logfmt`` does.

    Args:
        record: the object.
        prefix: is put before each key.
        typed: also quote text that looks like another type, such as ``"30"`` and ``"true"``.
    """
    for key, value in record.items():
        path = prefix + _NOT_IN_KEYS.sub(_percent, key)
        if isinstance(value, Mapping) and value:
            yield from pairs(value, f"{path}.", typed=typed)
        elif isinstance(value, str):
            is_plain = _PLAIN.fullmatch(value) and not (typed and _NOT_TEXT.fullmatch(value))
            yield path, value if is_plain else json_text(value)
        elif isinstance(value, (list, tuple, dict)):
            yield path, json_text(json_text(value))
        else:
            yield path, json_text(value)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _styled(line: Iterable[Segment]) -> str:
    return "".join(
        f"\x1b[{style}m{text}\x1b[0m" if style and text else text for text, style in line
    )


def _is_unicode(stream: TextIO) -> bool:
    try:
        "".join(SYMBOLS.values()).encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
