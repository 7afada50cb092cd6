"""``edr explain``: who receives an event, and why others do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from edr.cli.event_input import read_events
from edr.cli.event_lines import EventLines
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import FilterFlags
from edr.cli.output import Output, OutputFlags
from edr.cli.process import ProcessName, attach, bindings_of, run
from edr.cli.table import write_table
from edr.control.client import Client
from edr.control.errors import RemoteError

MAX_LAST = 20
"""Events that a process explains in one request."""

KINDS = {"subscription": "sub"}
"""Short words for the kinds of components."""


def explain(
    process: ProcessName = None,
    /,
    *,
    event: Annotated[
        str | None,
        Parameter(
            ("-e", "--event"),
            metavar="JSON|FILE",
            help="the event, or a file with one in each line; standard input by default",
            allow_leading_hyphen=True,
        ),
    ] = None,
    last: Annotated[
        bool, Parameter("--last", help="the last event that the filter matches", negative=())
    ] = False,
    n: Annotated[int | None, Parameter("-n", help="as --last, for the last N events")] = None,
    to: Annotated[
        str | None, Parameter("--to", help="only this subscription, part or consumer")
    ] = None,
    filters: FilterFlags = FilterFlags(),
    output: OutputFlags = OutputFlags(),
) -> Exit | None:
    """Print who receives an event, and why others do not.

    The event is read from -e or standard input, or is the last one that matches the filter. It
    needs the fields app_name, app_version, severity, verbosity and body. Exits with 1 if no one
    receives it. The filter flags choose the event of --last.
    """
    if n is not None and not 1 <= n <= MAX_LAST:
        raise CommandError(Exit.USAGE, f"-n must be 1 to {MAX_LAST}, got {n}")
    number = n if n is not None else 1 if last else None
    if number is not None and event is not None:
        raise CommandError(Exit.USAGE, "--event and --last exclude each other")
    if number is None and not filters.print_binding and filters != FilterFlags():
        raise CommandError(Exit.USAGE, "filter flags choose an earlier event: add --last")
    out = Output(output)
    if filters.print_binding and filters.part is None:
        out.bindings(filters.documents())
        return None
    return run(_explain(process, event, number, to, filters, out))


async def _explain(
    process: str | None,
    source: str | None,
    last: int | None,
    to: str | None,
    filters: FilterFlags,
    out: Output,
) -> Exit | None:
    lines = EventLines(out)
    received = False
    async with attach(process) as client:
        bindings = await bindings_of(client, filters)
        if filters.print_binding:
            out.bindings(bindings)
            return None
        if last is None:
            explained = _given(client, source)
        else:
            explained = _answers(client, last=last, bindings=bindings)
        async for event, results in explained:
            chosen = [each for each in results if to is None or to in _names(each)]
            if to is not None and not chosen:
                raise CommandError(
                    Exit.NO, f"there is no subscription, part or consumer {to!r}; see edr bindings"
                )
            received |= any(each["matches"] for each in chosen)
            if out.form == "text":
                _write_text(out, lines, event if last is not None else None, chosen)
            else:
                for each in chosen:
                    out.record({"event_id": event.get("id"), **each})
            out.flush()
    return None if received else Exit.NO


Explained = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]


async def _given(client: Client, source: str | None) -> AsyncIterator[Explained]:
    for place, event in read_events(source):
        try:
            async for each in _answers(client, event=event):
                yield each
        except RemoteError as exc:
            if exc.code != "invalid_event":
                raise
            raise CommandError(Exit.BAD_INPUT, f"{place}: {exc}") from exc


async def _answers(client: Client, **request: Any) -> AsyncIterator[Explained]:
    """Yield each event with the results of all the messages that follow it."""
    event: Mapping[str, Any] | None = None
    results: list[Mapping[str, Any]] = []
    async for message in client.request("explain", **request):
        if message["is"] == "event":
            if event is not None:
                yield event, results
            event, results = message["event"], []
        else:
            results += message.get("results", ())
    if event is not None:
        yield event, results


def _names(result: Mapping[str, Any]) -> set[str]:
    kind, name = result["kind"], result["name"]
    return {name, f"{kind} {name}", f"{KINDS.get(kind, kind)} {name}"}


def _write_text(
    out: Output,
    lines: EventLines,
    event: Mapping[str, Any] | None,
    results: Sequence[Mapping[str, Any]],
) -> None:
    if event is not None:
        lines.event(event, wrapped=True)
    if not results:
        out.message("the process has no subscription, part or consumer")
        return
    symbols = {True: "yes", False: "no", None: "dot"}
    rows = [
        (
            f"{out.symbol(symbols[each['matches']])} {_title(each)}",
            "; ".join(mismatch["text"] for mismatch in each["mismatches"])
            if each["matches"] is not None
            else "has no binding",
        )
        for each in results
    ]
    write_table(out, None, rows, [symbols[each["matches"]] for each in results])


def _title(result: Mapping[str, Any]) -> str:
    kind, name = KINDS.get(result["kind"], result["kind"]), result["name"]
    return kind if kind == name else f"{kind} {name}"
