"""``main``: runs one command line of ``edr``.

Each command is a function of its name in a module of its name, and is imported when it is called.
It returns ``None`` or an exit code. All errors end here: one line on stderr, and an exit code of
``edr.cli.exits``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from cyclopts import App, CycloptsError, UnusedCliTokensError

from edr._util.text import is_encodable
from edr.cli.exits import CommandError, Exit, OutputClosedError, exit_of, reason_of
from edr.cli.output import Output
from edr.errors import EdrError, shown

HELP = """See into the running processes of services that use edr, and run applications.

A process is exposed by `await edr.control.expose()`, and by `edr run`."""

EPILOGUE = (
    "Exit codes: 0 done, 1 no, 2 usage, 65 bad input, 69 process not found or connection lost, "
    "75 stopped with work left, 77 not permitted, 78 configuration, 130 interrupted."
)

PRINTING_FLAGS = {"--help", "-h", "--version"}
"""Flags for which the parser prints a page itself."""

COMMANDS = {
    "ls": "List the running processes that are exposed.",
    "status": "Print the health of a process.",
    "tail": "Print events as they are emitted.",
    "top": "Show what a process does, as a live table.",
    "explain": "Print who receives an event, and why others do not.",
    "emit": "Emit an event in a process.",
    "bindings": "Print the bindings of each subscription and part, or change those of a part.",
    "replay": "Emit recorded events again, with the time between them.",
    "journal": "Look into the folder of a journal, also while it is in use.",
    "check": "Print all faults of a configuration at once.",
    "init": "Write a first configuration.",
    "run": "Run an application: sources, a journal that keeps the events, and sinks.",
    "reload": "Reload the configuration of an application.",
    "sink": "Pause, resume or restart a sink.",
    "dead": "List, retry or drop the events that a sink or link will not deliver.",
}
"""The commands in the order of ``--help``: ``edr NAME`` is the function ``edr.cli.NAME.NAME``."""


def make_app(tokens: Sequence[str] = (), page: TextIO | None = None) -> App:
    """Return a parser for a command line. No command is imported yet.

    Args:
        tokens: the command line.
        page: receives the page of ``--help``; by default stdout.
    """
    prints_page = not tokens or not PRINTING_FLAGS.isdisjoint(tokens)
    app = App(
        name="edr",
        help=HELP,
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=_version,
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    if prints_page:
        from edr.cli.help_page import HelpPage, console_of  # noqa: PLC0415 - loads rich

        app.help_formatter = HelpPage()
        app.console = console_of(page)
    for place, (name, summary) in enumerate(COMMANDS.items()):
        # The help of the command itself is its docstring, which a text given here would replace.
        text = None if name in tokens[:1] else summary
        app.command(f"edr.cli.{name}:{name}", name=name, help=text, sort_key=place)
    return app


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - takes 20 ms

    return version("edr")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, and return the exit code.

    Args:
        arguments: the words after ``edr``; by default those of the process.
    """
    _prepare_streams()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if wrong := [token for token in tokens if not is_encodable(token)]:
            raise CommandError(Exit.USAGE, f"an argument must be UTF-8, got {shown(wrong[0])}")
        page = io.StringIO()
        code = make_app(tokens, page)(tokens)
        out = Output()
        out.page(page.getvalue())
        out.flush()  # otherwise a closed pipe raises only at exit
    except OutputClosedError:
        _discard_stdout()
        return Exit.BROKEN_PIPE
    except CycloptsError as exc:
        return _failed(Exit.USAGE, _reason(exc, tokens))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except EdrError as exc:
        return _failed(exit_of(exc), reason_of(exc))
    return Exit.DONE if code is None else int(code)


def _reason(error: CycloptsError, tokens: Sequence[str]) -> str:
    """Return the parser's message in one line, with the command whose help explains more."""
    text = " ".join(str(error).split())
    if isinstance(error, UnusedCliTokensError):
        text = f"unexpected argument {shown((error.unused_tokens or ['?'])[0])}."
    command = " ".join(["edr", *tokens[:1]]) if tokens and tokens[0] in COMMANDS else "edr"
    return f"{text[:1].lower()}{text[1:]} See {command} --help."


def _failed(code: Exit, reason: str) -> Exit:
    output = Output()
    try:
        output.flush()  # the data before the message
    except EdrError:  # nothing reads it, and the first reason counts
        _discard_stdout()
    output.message(f"edr: {reason}")
    return code


def _prepare_streams() -> None:
    if sys.stdout is None:  # closed by the shell: edr ls >&-
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as above
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding shows the escapes of characters that it lacks.
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    """Replace stdout: the interpreter flushes it at its end, and would report the closed pipe."""
    if (stdout := sys.__stdout__) is not None and stdout is sys.stdout:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stdout.fileno())
        os.close(null)
