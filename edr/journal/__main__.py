"""``python -m edr.journal``: look into a journal, or copy it, also while it is in use or damaged.

It copies the journal's files, as of one moment, into a temporary folder (see ``TMPDIR``) and opens
the copy as its owner would. So it shows what the owner would find, and only the copy of a damaged
journal is salvaged. The journal itself is neither locked nor changed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edr import Binding, EdrError
from edr.journal.codec import time_of
from edr.journal.copying import back_up, copy_journal
from edr.journal.errors import JournalUnusableError
from edr.journal.fetching import Lost
from edr.journal.folder import DATABASE
from edr.journal.journal import Entry
from edr.journal.retention import Limits, existed
from edr.journal.selection import Selection
from edr.journal.store import BlockStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show
    try:
        code: int = options.command(options)
        sys.stdout.flush()  # else a closed pipe is noticed only when the program exits
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except JournalUnusableError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - its purpose
        return 1
    except (EdrError, OSError) as exc:
        print(f"{options.path}: {exc}", file=sys.stderr)  # noqa: T201 - its purpose
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m edr.journal",
        description="look into a journal or copy it; the journal is neither locked nor changed",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, does in (
        (_ls, "what it holds, in a few lines"),
        (_read, "its entries, a JSON object a line"),
        (_verify, "what is damaged, and what can be saved"),
        (_consumers, "who reads it, and how far"),
        (_copy, "a copy as of one moment, for a backup; also of a journal in use"),
    ):
        sub = commands.add_parser(command.__name__[1:], help=does, description=does)
        sub.add_argument("path", type=Path, help="the journal's folder")
        sub.set_defaults(command=command)
        if command is _read:
            for name, reads, metavar, what in (
                ("--after", _whole, "POSITION", "only entries after this position"),
                ("--since", _time, "TIME", "only entries since this ISO time, or seconds ago"),
                ("--last", _whole, "N", "only the newest N entries"),
            ):
                sub.add_argument(name, type=reads, metavar=metavar, help=what)
            matching = "only events that match this binding, or another one; repeatable"
            sub.add_argument(
                "--binding", type=_binding, metavar="JSON", action="append", help=matching
            )
        if command is _copy:
            sub.add_argument("to", type=Path, metavar="TARGET", help="a folder to be made")
    return parser


# Commands


def _ls(options: argparse.Namespace) -> int:
    with _copied(options.path) as store:
        entries = existed(store.missing_ranges, store.first, store.last) if store.first else 0
        _say("id", store.id if store.salvaged is None else "unknown, as the journal is damaged")
        _say("entries", f"{entries:,}")
        ends = store.read(lambda disk: disk.ends())
        if ends is not None:
            oldest, newest = ends
            _say("positions", f"{oldest.first:,} to {newest.last:,}")
            _say("recorded", f"{time_of(oldest.since)} to")
            _say("", str(time_of(newest.until)))
        size = sum(file.stat().st_size for file in options.path.iterdir() if file.is_file())
        _say("bytes", f"{size:,}" + (f", {size / entries:.0f} an entry" if entries else ""))
        _say("consumers", ", ".join(sorted(store.consumers)) or "none")
    return 0


def _read(options: argparse.Namespace) -> int:
    # JSON can say any character in ASCII, for an output that is not in UTF-8.
    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    with _copied(options.path) as store:
        entries = _entries(store, Selection(options.binding or ()), options.after or 0)
        if options.since is not None:
            entries = (entry for entry in entries if entry.recorded_at >= options.since)
        if options.last is not None:
            entries = iter(deque(entries, maxlen=options.last))
        for entry in entries:
            line = {
                "position": entry.position,
                "recorded_at": entry.recorded_at.isoformat(),
                "event": json.loads(entry.event.to_json()),
            }
            print(json.dumps(line, ensure_ascii=is_ascii))  # noqa: T201 - its purpose
    return 0


def _verify(options: argparse.Namespace) -> int:
    with _copied(options.path) as store:
        sound, damaged = store.read(lambda disk: disk.verify())
        ranges = [(block.first, block.last, block.size) for block in damaged]
        if store.salvaged is not None:
            ranges += store.salvaged.missing
            _say("damaged", "the database; it is salvaged when it is opened")
        for first, last, count in sorted(ranges):
            _say("damaged", f"{count:,} entries at positions {first:,} to {last:,} are lost")
        is_damaged = bool(ranges) or store.salvaged is not None
        _say("can be saved" if is_damaged else "sound", f"{sound:,} entries")
    return 1 if is_damaged else 0


def _consumers(options: argparse.Namespace) -> int:
    rows: list[tuple[str, ...]] = [("name", "position", "behind", "unacked", "missed", "last ack")]
    with _copied(options.path) as store:
        for name, consumer in sorted(store.consumers.items()):
            acked = str(time_of(consumer.last_ack)) if consumer.last_ack is not None else "never"
            counts = (consumer.position, store.lag(consumer.position), len(consumer.unacked))
            rows.append((name, *map(str, counts), str(consumer.missed), acked))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())  # noqa: T201 - its purpose
    return 0


def _copy(options: argparse.Namespace) -> int:
    _check_folder(options.path)
    back_up(options.path, options.to)
    return 0


# Inner parts


def _entries(store: BlockStore, selection: Selection, after: int) -> Iterator[Entry]:
    while True:
        fetched = store.read(lambda disk, at=after: disk.fetch(selection, at))  # type: ignore[misc]
        for item in fetched.items:
            if not isinstance(item, Lost):
                yield item
            elif item.is_damage:
                text = f"{item.missed} entries up to position {item.position} are lost"
                print(text, file=sys.stderr)  # noqa: T201 - its purpose
        if fetched.position == after:
            return
        after = fetched.position


@contextmanager
def _copied(path: Path) -> Iterator[BlockStore]:
    """Open a copy of the journal in ``path``."""
    _check_folder(path)
    with tempfile.TemporaryDirectory(prefix="edr-journal-") as folder:
        copy = Path(folder) / "copy"
        copy_journal(path, copy)
        said: list[str] = []  # by a salvage of the copy
        store = BlockStore(
            copy,
            Limits(),
            full_sync=False,
            now=lambda: time.time_ns() // 1000,
            report=said.append,
        )
        try:
            store.open()
        except JournalUnusableError as exc:
            raise JournalUnusableError(exc.reason, path) from exc
        try:
            yield store
        finally:
            store.close()


def _check_folder(path: Path) -> None:
    if not path.is_dir():
        raise JournalUnusableError("there is no such folder", path)
    if not (path / DATABASE).is_file():
        raise JournalUnusableError(
            f"there is no {DATABASE} in it, so it is not a journal's folder", path
        )


def _say(what: str, text: str) -> None:
    print(f"{what:<13} {text}")  # noqa: T201 - its purpose


def _time(text: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a time, as 2026-01-31T12:00, or a number of seconds, got {text!r}"
        ) from None
    return time if time.tzinfo is not None else time.astimezone()


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of 0 or more, got {text!r}")
    return int(text)


def _binding(text: str) -> Any:
    try:
        return Binding.model_validate_json(text)
    except EdrError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


if __name__ == "__main__":
    sys.exit(main())
