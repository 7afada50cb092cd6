"""``edr reload``: lets a running application read its configuration again."""

from __future__ import annotations

from typing import Any

from edr.cli.exits import CommandError, Exit
from edr.cli.output import Output, OutputFlags
from edr.cli.process import ProcessName, attach, run
from edr.control.errors import RemoteError


def reload(
    process: ProcessName = None,
    /,
    *,
    output: OutputFlags = OutputFlags(),
) -> Exit | None:
    """Reload the configuration of an application, and print the outcome.

    Parts that are the same in the new file are not touched. Exits with 78 if the file has faults:
    then nothing was changed. Exits with 1 if a part could not be changed: it is tried again.
    """
    out = Output(output)
    result = run(_reload(process))
    if out.form == "text":
        for each in result["changed"]:
            out.text((each, ""))
        for each in result["failed"]:
            out.text((f"failed: {each}", "critical"))
        for each in result.get("warnings", ()):
            out.text((f"warning: {each}", "warning"))
        if not result["changed"]:
            out.text(("nothing has changed", "dim"))
    else:
        out.record(result)
    return Exit.NO if result["failed"] else None


async def _reload(process: str | None) -> dict[str, Any]:
    async with attach(process) as client:
        try:
            end = await client.ask("reload")
        except RemoteError as exc:
            if exc.code == "failed":
                raise CommandError(Exit.CONFIGURATION, exc.detail) from exc
            raise
    result = end.get("result")
    return result if isinstance(result, dict) else {"changed": [], "failed": []}
