"""``edr run``: runs the application of a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edr.cli.exits import CommandError, Exit
from edr.cli.kazoo_flags import KazooNode, KazooZone
from edr.errors import shown

ADVICE = """edr run needs a configuration file, which says where events come from and where they go:
  edr init edr.toml    writes a first one: a socket in, a file out, a journal between them
  edr check edr.toml   checks it, and starts nothing
  edr run edr.toml     runs it, until Ctrl-C or SIGTERM"""


def run(
    configuration: Annotated[
        Path | None, Parameter("CONFIG", help="the configuration file, TOML or JSON")
    ] = None,
    /,
    *,
    watch: Annotated[
        bool, Parameter("--watch", help="reload when the file changes", negative=())
    ] = False,
    kazoo_node: KazooNode = None,
    kazoo_zone: KazooZone = None,
) -> int:
    """Run an application: sources, a journal that keeps the events, and sinks.

    SIGTERM and Ctrl-C stop it in order, and a second one ends it at once. SIGHUP and edr reload
    read the file again. Exits with 75 if events were lost or the journal is in use, and with 78 if
    the configuration cannot be used.
    """
    if configuration is None:
        raise CommandError(Exit.USAGE, ADVICE)
    try:
        from edr.app.program import run_program  # noqa: PLC0415 - loads the core
    except ImportError as exc:
        raise CommandError(
            Exit.UNAVAILABLE, f"edr run needs the extra 'app': pip install 'edr[app]' ({exc})"
        ) from exc
    if configuration.is_dir():
        raise CommandError(
            Exit.USAGE, f"CONFIG must be a file, got the folder {shown(str(configuration))}"
        )
    return run_program(configuration, watch=watch, kazoo_node=kazoo_node, kazoo_zone=kazoo_zone)
