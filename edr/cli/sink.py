"""``edr sink``: pauses, resumes or restarts a sink of a running application."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from edr.cli.output import Output
from edr.cli.process import attach, run

DONE = {"pause": "paused", "resume": "resumed", "restart": "restarted"}


def sink(
    process: Annotated[
        str,
        Parameter(
            "PROCESS",
            help="a name of edr ls or its beginning, NAME.PID, a process id or the path of a "
            "socket",
        ),
    ],
    action: Annotated[Literal["pause", "resume", "restart"], Parameter("ACTION")],
    part: Annotated[str, Parameter("SINK", help="the name of the sink")],
    /,
) -> None:
    """Pause, resume or restart a sink. The journal keeps its events while it is paused.

    pause finishes the present batch. resume delivers the backlog. restart opens the sink again,
    and tries at once. The process must permit it: control.allow has "sinks" by default.
    """
    run(_ask(process, action, part))
    Output().message(f"{part} is {DONE[action]}")


async def _ask(process: str, action: str, part: str) -> None:
    async with attach(process) as client:
        await client.ask("sink", part=part, action=action)
