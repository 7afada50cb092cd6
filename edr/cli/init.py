"""``edr init``: writes a first configuration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from edr.cli.exits import CommandError, Exit
from edr.cli.output import Output

EVENT = (
    '{"app_name":"demo","app_version":"1","severity":"ok","verbosity":"info","body":{"hello":1}}'
)
"""An event to try it with."""

SOURCES = {
    "socket": 'type = "socket"\npath = "edr-in.sock"',
    "stdin": 'type = "stdin"',
}

TEMPLATE = """\
# A configuration of edr. Check it with: edr check FILE
# All keys: docs/configuration.md. Paths are relative to the folder of this file.

[app]
name = "edr"
data_dir = "edr-data"    # the journal, which keeps events until they are delivered

[control]                # the socket of edr status, top, emit and others, for this user only
allow = ["sinks", "reload", "emit"]

[sources.in]             # one JSON object for each event, in one line
{source}

[sinks.file]
type = "file"
path = "events.jsonl"
bindings = [{{ verbosity = "trace" }}]    # every event; without it, info and higher

# [web]                  # events for browsers: the page http://127.0.0.1:8490/ and streams
# listen = "127.0.0.1:8490"
# tokens_file = "tokens.jsonl"    # a line: {{"sha256": "…", "rights": ["watch_everything"]}};
#                                 # the hash of a token: printf %s "$token" | sha256sum
"""


def init(
    file: Annotated[Path, Parameter("FILE", help="the file to write")] = Path("edr.toml"),
    /,
    *,
    source: Annotated[
        Literal["socket", "stdin"],
        Parameter("--source", help="a Unix socket, or the standard input of the process"),
    ] = "socket",
) -> None:
    """Write a first configuration: a source, a journal in a folder, and a file with the events.

    An existing file is not changed.
    """
    text = TEMPLATE.format(source=SOURCES[source])
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise CommandError(
            Exit.BAD_INPUT, f"{file} exists and was not changed; give another name: edr init FILE"
        ) from None
    except OSError as exc:
        raise CommandError(Exit.BAD_INPUT, f"{file}: {exc.strerror or exc}") from exc
    Output().message(f"{file} was written. Next:\n{_next(file, source)}")


def _next(file: Path, source: str) -> str:
    name = shlex.quote(str(file))
    if source == "stdin":
        return f"  echo {shlex.quote(EVENT)} | edr run {name}"
    socket, events = (
        shlex.quote(str(file.parent / name)) for name in ("edr-in.sock", "events.jsonl")
    )
    return (
        f"  edr run {name}\n"
        "and in another terminal:\n"
        "  edr emit edr -a demo --app-version 1 hello=1\n"
        f"  cat {events}\n"
        f"Other programs write lines of JSON to {socket}; an empty line requests an answer:\n"
        f"  {EVENT}"
    )
