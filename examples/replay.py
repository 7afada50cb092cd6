"""Publish events from files to consumers, and print what each received.

    python examples/replay.py events.jsonl --binding 'bad={"severity": "warning"}'

A file holds one event a line, as JSON; missing ``id`` and ``node`` are generated.
A binding is a JSON object; missing fields have their defaults. A list of bindings is one consumer,
which receives each event that any of them matches. An invalid line is reported on stderr with its
file, line and field, and the program continues.

Exit codes: 0 all lines were events; 1 some were not; 2 a file or a binding cannot be read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import count
from math import inf
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import anyio
import orjson
from _display import can_be_rich, print_table, printable, progress, quiet_end

import edr

CHUNK = 1 << 18
"""Bytes of lines to read at a time. A read in a thread costs as much as a few events."""


@dataclass
class Consumer:
    """One consumer: its bindings, and the number of events that it received by severity."""

    name: str
    bindings: list[edr.Binding]
    received: Counter[edr.Severity] = field(default_factory=Counter)

    async def consume(self, events: edr.Subscription) -> None:
        """Count until the subscription ends."""
        async for event in events:
            self.received[event.severity] += 1

    def row(self) -> tuple[str | int, ...]:
        """Return the line of the table."""
        wants = " or ".join(
            binding.model_dump_json(exclude_unset=True) for binding in self.bindings
        )
        by_severity = (self.received[severity] for severity in edr.Severity)
        return (self.name, self.received.total(), *by_severity, wants)


@dataclass
class Replay:
    """Publishes the events of the files to the consumers."""

    consumers: list[Consumer]
    events: int = 0
    bad_lines: int = 0

    async def run(self, files: Iterable[BinaryIO], total: int) -> None:
        """Publish every event, and return when each consumer has received its events."""
        # No event may be lost, so emits wait for a slow consumer without a limit.
        async with anyio.create_task_group() as group, edr.Bus(stall_timeout=inf) as bus:
            for consumer in self.consumers:
                events = bus.subscribe(
                    *consumer.bindings, name=consumer.name, overflow=edr.Overflow.BLOCK
                )
                group.start_soon(consumer.consume, events)
            with progress("replaying", total) as advance:
                for file in files:
                    numbers = count(1)
                    while lines := await anyio.to_thread.run_sync(file.readlines, CHUNK):
                        for line, number in zip(lines, numbers, strict=False):
                            if text := line.strip():
                                await self.publish(bus, text, f"{file.name}:{number}")
                        advance(sum(map(len, lines)))

    async def publish(self, bus: edr.Bus, line: bytes, place: str) -> None:
        """Publish the event in ``line``, or report the error."""
        try:
            event = edr.Event.model_validate_json(line)
        except edr.InvalidEventError as exc:
            self.bad_lines += 1
            print(printable(f"{place}: {exc}"), file=sys.stderr)
        else:
            await bus.publish(event)
            self.events += 1


class Document(NamedTuple):
    """A document with the bindings of a consumer."""

    where: str
    name: str | None
    content: Any


def documents_of(texts: list[str], paths: list[Path]) -> Iterator[Document]:
    """Return the documents of the options ``--binding`` and ``--bindings``."""
    for number, text in enumerate(texts, 1):
        name, equals, content = text.partition("=")
        is_named = equals and not text.lstrip().startswith(("{", "["))
        where = f"--binding {number}"
        yield Document(where, name, content) if is_named else Document(where, None, text)
    for path in paths:
        try:
            content = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as exc:
            raise ValueError(f"{path}: the document is not valid JSON: {exc}") from exc
        if isinstance(content, dict):
            for name, item in content.items():
                yield Document(f"{path}: {name}", name, item)
        elif isinstance(content, list):
            for index, item in enumerate(content):
                yield Document(f"{path}: [{index}]", None, item)
        else:
            raise ValueError(f"{path}: this is neither a JSON array nor an object")


def consumers_of(documents: Iterable[Document]) -> list[Consumer]:
    """Make the consumers; without any document, one with the default binding.

    Raises:
        ValueError: a document is invalid. The message has its name, the place and the reason.
    """
    consumers: dict[str, Consumer] = {}
    for where, given_name, content in documents:
        name = f"binding {len(consumers) + 1}" if given_name is None else given_name
        if name in consumers:
            raise ValueError(f"{where}: another consumer is named {name!r} too")
        try:
            bindings = edr.bindings_from_json(content)
        except edr.InvalidBindingError as exc:
            raise ValueError(f"{where}: {exc}") from exc
        many = [bindings] if isinstance(bindings, edr.Binding) else bindings
        consumers[name] = Consumer(name, many)
    return list(consumers.values()) or [Consumer("default", [edr.Binding()])]


def main() -> int:
    """Parse the command line, replay the files, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", metavar="FILE", nargs="+", help="events, one a line")
    parser.add_argument(
        "--binding",
        metavar="[NAME=]JSON",
        action="append",
        default=[],
        help="a consumer: a binding, or a list of them; may be repeated",
    )
    parser.add_argument(
        "--bindings",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="consumers: a JSON array of the same, or an object of them by name",
    )
    parser.add_argument("--plain", action="store_true", help="plain text, also on a terminal")
    options = parser.parse_intermixed_args()  # FILEs may also follow options
    # Escape characters that the terminal cannot show, instead of raising an error.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with ExitStack() as stack:
        try:
            replay = Replay(consumers_of(documents_of(options.binding, options.bindings)))
            files = [stack.enter_context(Path(name).open("rb")) for name in options.files]
        except (OSError, ValueError) as exc:
            parser.error(printable(str(exc)))
        total = sum(os.fstat(file.fileno()).st_size for file in files)
        anyio.run(replay.run, files, total)
    columns = ("consumer", "received", *edr.Severity, "wants")
    rows = [consumer.row() for consumer in replay.consumers]
    print_table(columns, rows, rich=can_be_rich(sys.stdout) and not options.plain)
    print(f"{replay.events} events published, {replay.bad_lines} bad lines")
    return 1 if replay.bad_lines else 0


if __name__ == "__main__":
    with quiet_end():
        sys.exit(main())
