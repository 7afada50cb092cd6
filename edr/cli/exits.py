"""Exit codes of the ``edr`` command, and the error that ends a command with one of them.

The codes from 64 on are those of ``sysexits.h``. 130 and 141 are what a shell reports for a program
that SIGINT or SIGPIPE ended.
"""

from __future__ import annotations

from enum import IntEnum

from edr.control.errors import ControlError, RemoteError, SocketPathError
from edr.errors import EdrError


class Exit(IntEnum):
    """Exit codes. Each is one answer to the question whether the command succeeded."""

    DONE = 0
    NO = 1
    """No event matched, or a check found a fault."""
    USAGE = 2
    """The command line is not valid, or does not name one process."""
    BAD_INPUT = 65
    """A filter, an event or a file is not valid."""
    UNAVAILABLE = 69
    """The process was not found, or the connection to it was lost."""
    UNFINISHED = 75
    """The command stopped with work left: the process ended before it had received all events."""
    NOT_PERMITTED = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of the output ended, as ``head`` does. Nothing is printed."""


class CommandError(EdrError):
    """A command cannot do its work. ``main`` prints the reason and returns the exit code.

    Attributes:
        exit: the exit code of the program.
        reason: the fault and the way out. The first line stands after ``edr: ``.
    """

    def __init__(self, exit: Exit, reason: str) -> None:
        super().__init__(exit, reason)
        self.exit = exit
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class OutputClosedError(EdrError):
    """The reader of stdout has ended."""


_OF_REFUSALS = {
    "not_permitted": Exit.NOT_PERMITTED,
    "not_allowed": Exit.NOT_PERMITTED,
    "not_found": Exit.NO,
    "failed": Exit.NO,
    "in_use": Exit.UNAVAILABLE,
    "history_off": Exit.UNAVAILABLE,
    "no_journal": Exit.UNAVAILABLE,
    "not_supported": Exit.UNAVAILABLE,
    "unknown_request": Exit.UNAVAILABLE,
    "bus_closed": Exit.UNAVAILABLE,
    "too_many_requests": Exit.UNAVAILABLE,
    "too_many_connections": Exit.UNAVAILABLE,
}
"""Codes of ``edr.control.RemoteError``. The others are faults of the input."""


def exit_of(error: EdrError) -> Exit:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, CommandError):
        return error.exit
    if isinstance(error, RemoteError):
        return _OF_REFUSALS.get(error.code, Exit.BAD_INPUT)
    if isinstance(error, SocketPathError):
        return Exit.NOT_PERMITTED
    return Exit.UNAVAILABLE if isinstance(error, ControlError) else Exit.BAD_INPUT


def reason_of(error: EdrError) -> str:
    """Return the reason for a person. A command that is not permitted has no place in the input."""
    return error.detail if isinstance(error, RemoteError) and error.path == "do" else str(error)
