"""``edr dead``: the dead letters of a sink or link, which are the events that it will not deliver.

The commands work on the files of ``data_dir/dead``, while the application runs and while it does
not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import orjson
from cyclopts import App, Parameter

from edr.app.config import Configuration, ConfigurationError, load
from edr.app.dead_letters import dead_letters_of, deliver, senders_of
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import FilterFlags
from edr.cli.journal import bindings_in
from edr.cli.output import Output, OutputFlags
from edr.cli.table import write_table
from edr.cli.units import counted
from edr.errors import did_you_mean, shown
from edr.sinks import DeadLetter

dead: App = App(
    name="dead", help="List, retry or drop the events that a sink or link will not deliver."
)

ConfigFile: TypeAlias = Annotated[
    Path, Parameter("CONFIG", help="the configuration file of the application")
]
SinkName: TypeAlias = Annotated[str, Parameter("SINK", help="the name of a sink or link")]


@dead.command
def ls(
    configuration: ConfigFile,
    sink: Annotated[
        str | None, Parameter("SINK", help="the name of a sink or link; by default all")
    ] = None,
    /,
    *,
    filters: FilterFlags | None = None,
    output: OutputFlags | None = None,
) -> None:
    """Print the dead letters, oldest first."""
    out = Output(output)
    loaded = loaded_from(configuration)
    names = list(senders_of(loaded)) if sink is None else [checked(loaded, sink)]
    is_meant = selection(filters)
    letters = [
        letter
        for name in names
        for letter in dead_letters_of(loaded, name).read()
        if is_meant(letter)
    ]
    if out.form != "text":
        for letter in letters:
            out.record(orjson.loads(letter.to_json()))
    elif not letters:
        out.message("there are no dead letters")
    else:
        rows = [
            (
                letter.sink,
                letter.at.strftime("%Y-%m-%d %H:%M:%S"),
                str(letter.attempts),
                letter.event.id,
                letter.reason,
            )
            for letter in letters
        ]
        write_table(out, ("SINK", "AT", " ATTEMPTS", "EVENT", "REASON"), rows)


@dead.command
def retry(
    configuration: ConfigFile,
    sink: SinkName,
    /,
    *,
    filters: FilterFlags | None = None,
) -> Exit | None:
    """Deliver the dead letters of a sink once more, and remove the delivered ones.

    This command delivers them itself, one by one, with the settings of the configuration. It ends
    at the first event that cannot be delivered now. Exits with 1 if dead letters are left.
    """
    loaded = loaded_from(configuration)
    result = asyncio.run(deliver(loaded, checked(loaded, sink), selection(filters)))
    out = Output()
    out.message(f"{counted(result.delivered, 'event')} delivered, {result.left:,} left")
    if result.error is not None:
        out.message(f"edr: {result.error}")
    return Exit.NO if result.left else None


@dead.command
def drop(
    configuration: ConfigFile,
    sink: SinkName,
    /,
    *,
    every: Annotated[bool, Parameter("--all", help="remove all of them", negative=())] = False,
    filters: FilterFlags | None = None,
) -> None:
    """Remove dead letters of a sink, by filter flags or --all."""
    loaded = loaded_from(configuration)
    name = checked(loaded, sink)
    if not every and not bindings_in(filters):
        raise CommandError(Exit.USAGE, "name the events by a filter flag, or give --all")
    with file_errors():
        removed = dead_letters_of(loaded, name).remove(selection(filters))
    Output().message(f"{counted(len(removed), 'dead letter')} removed")


def selection(filters: FilterFlags | None) -> Callable[[DeadLetter], bool]:
    """Return whether a dead letter passes the filter; without a flag, each one does."""
    bindings = bindings_in(filters)

    def is_meant(letter: DeadLetter) -> bool:
        return not bindings or any(binding.matches(letter.event) for binding in bindings)

    return is_meant


def loaded_from(path: Path) -> Configuration:
    """Return the configuration of a file.

    Raises:
        CommandError: it has faults.
    """
    try:
        return load(path)
    except ConfigurationError as exc:
        raise CommandError(Exit.CONFIGURATION, str(exc)) from exc


def checked(configuration: Configuration, sink: str) -> str:
    """Return the name of a sink, or of a link that sends, of the configuration.

    Raises:
        CommandError: the configuration does not have it.
    """
    names = senders_of(configuration)
    if sink not in names:
        nearest = did_you_mean(sink, names)
        raise CommandError(
            Exit.NO, f"no sink and no sending link has the name {shown(sink)}{nearest}"
        )
    return sink


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn errors of files into an error of the command."""
    try:
        yield
    except OSError as exc:
        raise CommandError(Exit.NOT_PERMITTED, f"the dead letters: {exc}") from exc
