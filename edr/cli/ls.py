"""``edr ls``: the running processes that are exposed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from edr.cli.output import Output, OutputFlags
from edr.cli.table import write_table
from edr.cli.units import duration
from edr.control.finding import Found, find


def ls(*, output: OutputFlags = OutputFlags()) -> None:
    """List the running processes that are exposed. Sockets of ended processes are removed."""
    out = Output(output)
    found = [(each, _opened_at(each)) for each in find()]
    if not found:
        out.message(
            "no process is exposed; edr run is, and a service by: await edr.control.expose()"
        )
    elif out.form == "text":
        now = time.time()
        rows = [
            (each.name, str(each.pid), duration(max(0, now - opened_at)), str(each.path))
            for each, opened_at in found
        ]
        write_table(out, ("NAME", " PID", " UP", "SOCKET"), rows)
    else:
        for each, opened_at in found:
            since = datetime.fromtimestamp(opened_at, UTC).isoformat(timespec="seconds")
            out.record(
                {
                    "name": each.name,
                    "pid": each.pid,
                    "since": since.replace("+00:00", "Z"),
                    "path": str(each.path),
                }
            )


def _opened_at(found: Found) -> float:
    try:
        return found.path.stat().st_mtime
    except FileNotFoundError:  # the process has just ended
        return time.time()
