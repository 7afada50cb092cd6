"""``edr bindings``: what each subscription, part and consumer of a process receives."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from edr.cli.describe import describe, describe_briefly
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import FilterFlags
from edr.cli.output import Output, OutputFlags
from edr.cli.process import attach, bindings_of, run
from edr.cli.table import write_table
from edr.errors import shown

SET = "set"


def bindings(
    *words: Annotated[
        str,
        Parameter(
            "[PROCESS] [set PART]",
            help="the process, then set and the name of a part to change its bindings",
        ),
    ],
    filters: FilterFlags = FilterFlags(),
    output: OutputFlags = OutputFlags(),
) -> None:
    """Print the bindings of each subscription and part, or change those of a part.

    set PART replaces the bindings of the part by those of the filter flags, until its process
    ends. The process must permit it: expose(allow={"bindings"}).
    """
    process, part = _parsed(words)
    out = Output(output)
    if part is None:
        if filters != FilterFlags():
            raise CommandError(
                Exit.USAGE, "filter flags change the bindings of a part: edr bindings set PART …"
            )
        _write(out, run(_read(process)))
        return
    if filters == FilterFlags():
        raise CommandError(
            Exit.USAGE,
            "set needs a filter flag, such as -s warning; --binding '{}' is the default binding",
        )
    run(_set(process, part, filters, out))


def _parsed(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the process and the part to change."""
    process = None if not words or words[0] == SET else words[0]
    rest = words[0 if process is None else 1 :]
    if not rest:
        return process, None
    if rest[0] != SET:
        raise CommandError(Exit.USAGE, f"expected set PART after the process, got {shown(rest[0])}")
    if len(rest) != 2:  # noqa: PLR2004 - set and the part
        raise CommandError(Exit.USAGE, "set must have the name of one part: set PART -s warning")
    return process, rest[1]


async def _read(process: str | None) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    async with attach(process) as client:
        async for message in client.request("bindings"):
            items += message.get("items", ())
    return items


async def _set(process: str | None, part: str, filters: FilterFlags, out: Output) -> None:
    async with attach(process) as client:
        documents = await bindings_of(client, filters)
        await client.ask("set_bindings", part=part, bindings=documents)
    if out.form == "text":
        out.text((part, "bold"), (f"  {describe(documents)}", ""))
    else:
        out.record({"name": part, "bindings": documents})


def _write(out: Output, items: list[dict[str, Any]]) -> None:
    if out.form != "text":
        for item in items:
            out.record(item)
        return
    rows = [(_kind(item["kind"]), item["name"], _described(item)) for item in items]
    write_table(out, ("KIND", "NAME", "BINDING"), rows)


def _kind(kind: str) -> str:
    return "sub" if kind == "subscription" else kind


def _described(item: dict[str, Any]) -> str:
    if item["bindings"] is None:
        return f"{item['bindings_count']:,} bindings"
    return describe_briefly(item["bindings"])
