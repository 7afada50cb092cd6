"""``edr emit``: emits an event in a process that permits it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

import orjson
from cyclopts import Parameter

from edr.cli.emitting import emit_one, unfinished
from edr.cli.event_input import read_events
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import SEVERITIES, VERBOSITIES
from edr.cli.input_thread import in_thread
from edr.cli.output import Output, OutputFlags
from edr.cli.process import attach, run
from edr.cli.units import counted
from edr.errors import did_you_mean, shown

Events: TypeAlias = Iterable[tuple[str, dict[str, Any]]]
"""Events, each with its place in the input."""


def emit(
    *words: Annotated[
        str,
        Parameter(
            "[PROCESS] KEY=VALUE",
            help="the process, then fields of the body: status=paused, wait_time=30, queue.id=q7, "
            "tags='[1,2]'. A value is JSON if it can be read as JSON, and text otherwise",
        ),
    ],
    app: Annotated[
        str | None, Parameter(("-a", "--app"), metavar="NAME", help="the app; required")
    ] = None,
    app_version: Annotated[str, Parameter("--app-version", help="the version of the app")] = "cli",
    severity: Annotated[str, Parameter(("-s", "--severity"), metavar="LEVEL")] = "ok",
    verbosity: Annotated[str, Parameter(("-v", "--verbosity"), metavar="LEVEL")] = "info",
    account: Annotated[
        str | None, Parameter(("-A", "--account"), metavar="ID", help="the account")
    ] = None,
    body: Annotated[
        str | None,
        Parameter(("-b", "--body"), metavar="JSON", help="the body; KEY=VALUE is added to it"),
    ] = None,
    event: Annotated[
        str | None,
        Parameter(
            ("-e", "--event"),
            metavar="JSON|FILE|-",
            help="whole events in place of the flags: JSON, a file with one in each line, or - for "
            "standard input",
            allow_leading_hyphen=True,
        ),
    ] = None,
    durable: Annotated[
        bool,
        Parameter("--durable", help="wait until the journal has stored each event", negative=()),
    ] = False,
    dry_run: Annotated[
        bool, Parameter("--dry-run", help="print the event and do not emit it", negative=())
    ] = False,
    output: OutputFlags = OutputFlags(),
) -> None:
    """Emit an event in a process. The process must permit it: expose(allow={"emit"}).

    Whole events keep their id and timestamp. Their missing fields are set by the bus.
    """
    process = words[0] if words and "=" not in words[0] else None
    pairs = words[0 if process is None else 1 :]
    out = Output(output)
    if event is None:
        fields = {
            "app_name": app,
            "app_version": app_version,
            "severity": _level("-s", severity, SEVERITIES),
            "verbosity": _level("-v", verbosity, VERBOSITIES),
            "account_id": account,
            "body": _body(body, pairs),
        }
        if not app:
            raise CommandError(Exit.USAGE, "an app must be given: -a NAME")
        events: Events = [("the event", fields)]
    else:
        if pairs or body is not None or app is not None or account is not None:
            raise CommandError(Exit.USAGE, "--event is a whole event: give its fields in it")
        events = read_events(event)
    if dry_run:
        for _, each in events:
            out.record(each)
        return
    run(_emit(process, events, out, durable=durable))


async def _emit(process: str | None, events: Events, out: Output, *, durable: bool) -> None:
    done = 0
    async with attach(process) as client:
        try:
            async for place, event in in_thread(iter(events)):
                _print(await emit_one(client, place, event, durable=durable), out)
                done += 1
        except BaseException as exc:
            if done:
                out.message(f"{counted(done, 'event')} emitted before this")
            if error := unfinished(exc, done):
                raise error from exc
            raise


def _print(answer: dict[str, Any], out: Output) -> None:
    if out.form == "text":
        to = counted(answer["matched"], "subscription")
        if answer.get("journal"):  # only a process with a journal sends it
            to = f"journal, {to}" if answer["matched"] else "journal"
        out.text((f"{answer['event_id']}  {to}", ""))
    else:
        fields = ("event_id", "matched", "journal")
        out.record({name: answer[name] for name in fields if name in answer})
    out.flush()


def _level(flag: str, level: str, known: tuple[str, ...]) -> str:
    if level not in known:
        raise CommandError(
            Exit.USAGE,
            f"{flag} must be one of {', '.join(known)}, got {shown(level)}"
            f"{did_you_mean(level.lower(), known)}",
        )
    return level


def _body(text: str | None, pairs: tuple[str, ...]) -> dict[str, Any]:
    body: Any = {}
    if text is not None:
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            raise CommandError(Exit.BAD_INPUT, f"-b must be a JSON object: {exc}") from None
        if not isinstance(body, dict):
            raise CommandError(Exit.BAD_INPUT, f"-b must be a JSON object, got {shown(text)}")
    for pair in pairs:
        key, equals, value = pair.partition("=")
        path = key.split(".")
        if not equals or "" in path:
            raise CommandError(
                Exit.USAGE, f"{shown(pair)} must be KEY=VALUE, such as status=paused or queue.id=q7"
            )
        place = body
        for name in path[:-1]:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise CommandError(Exit.USAGE, f"{shown(pair)}: {name!r} has a value already")
        place[path[-1]] = _value(value)
    return body  # type: ignore[no-any-return]


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
