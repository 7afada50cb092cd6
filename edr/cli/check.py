"""``edr check``: all faults of a configuration, without starting anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from edr.app.config import (
    Configuration,
    ConfigurationError,
    Fault,
    Note,
    Recorded,
    Secrets,
    Trial,
    blocking_consumers,
    dry_run,
    live_faults,
    load_with_notes,
    recorded,
    table,
    to_toml,
)
from edr.cli.exits import CommandError, Exit
from edr.cli.kazoo_flags import KazooNode, KazooZone
from edr.cli.output import Output, OutputFlags
from edr.cli.table import write_table
from edr.cli.units import counted


def check(
    config: Annotated[Path, Parameter("CONFIG", help="the configuration file, TOML or JSON")],
    /,
    *,
    as_: Annotated[
        Literal["toml"] | None,
        Parameter("--as", help="print the configuration as edr understood it, without secrets"),
    ] = None,
    against: Annotated[
        str | None,
        Parameter(
            "--against",
            metavar="JOURNAL|FILE",
            help="count the recorded events that each sink would receive: journal, journal:5000, "
            "the folder of a journal, or a file with an event in each line",
        ),
    ] = None,
    live: Annotated[
        bool,
        Parameter("--live", help="also open files and connect to the peers", negative=()),
    ] = False,
    kazoo_node: KazooNode = None,
    kazoo_zone: KazooZone = None,
    output: OutputFlags = OutputFlags(),
) -> Exit | None:
    """Print all faults of a configuration at once. Nothing is started or changed.

    A document of Kazoo's edr application is accepted too. Exits with 78 if there is a fault. Notes
    and the warnings of --live do not change the exit code. With --as, a secret, an extra or a file
    that this machine does not have is a note, as the printed file may be for another one.
    """
    out = Output(output)
    as_records = output.output in {"json", "logfmt"}
    try:
        configuration, notes = load_with_notes(
            config,
            kazoo_node=kazoo_node,
            kazoo_zone=kazoo_zone,
            for_this_machine=as_ is None,  # a file is often converted elsewhere
        )
    except ConfigurationError as error:
        _write_faults(out, error, as_records=as_records)
        return Exit.CONFIGURATION
    notes += blocking_consumers(configuration)
    if live:
        notes += asyncio.run(live_faults(configuration, Secrets()))
    _write_notes(out, f"{config}: {_summary(configuration)}", notes, as_records=as_records)
    if as_ is not None:
        out.page(to_toml(configuration, folder=config.absolute().parent))
    if against is not None:
        _write_trials(out, _trials(against, configuration))
    return None


def _summary(configuration: Configuration) -> str:
    counts = Counter(kind for kind, _, _ in configuration.parts())
    parts = [counted(counts[kind], kind) for kind in ("source", "link", "sink")]
    if configuration.web is not None:
        parts.append("1 gateway")
    return f"no fault: {', '.join(parts)}"


def _write_faults(out: Output, error: ConfigurationError, *, as_records: bool) -> None:
    if not as_records:
        out.message(str(error))
        return
    for fault in error.faults:
        out.record({"is": "fault", "file": error.file, **fault._asdict()})


def _write_notes(
    out: Output, title: str, notes: Sequence[Fault | Note], *, as_records: bool
) -> None:
    if not as_records:
        out.message("\n".join([title, *table(notes)]))
        return
    for note in notes:
        out.record({"is": "note", **note._asdict()})


def _trials(target: str, configuration: Configuration) -> list[Trial]:
    try:
        past: Recorded = recorded(target, configuration)
        return dry_run(configuration, past)
    except OSError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{target}: {exc.strerror or exc}") from exc


def _write_trials(out: Output, trials: Sequence[Trial]) -> None:
    if out.form != "text":
        for each in trials:
            out.record(_record(each))
        return
    rows = [
        (
            f"{each.kind} {each.name}",
            "-" if each.now is None else f"{each.now:,}",
            f"{each.new:,}",
            f"{each.events:,}",
            _example(each),
        )
        for each in trials
    ]
    write_table(out, ("PART", " NOW", " NEW", " OF", "EXAMPLE"), rows)


def _example(trial: Trial) -> str:
    if trial.example is None:
        return f"none: {trial.reason}"
    event = trial.example
    return f"{event.id} {event.severity} {event.verbosity} {event.app_name}"


def _record(trial: Trial) -> dict[str, Any]:
    example = trial.example
    return {
        **trial._asdict(),
        "is": "trial",
        "example": None if example is None else example.model_dump(mode="json"),
    }
