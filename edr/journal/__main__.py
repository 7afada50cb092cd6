"""``python -m edr.journal``: read or copy a journal, also while it is in use or damaged.

It copies the files of the journal, as of one moment, into a temporary folder (see ``TMPDIR``), and
opens the copy as the owner would open the journal. So it prints the entries that the owner would
read, and salvages only the copy. The journal itself is neither locked nor changed.
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
    """Run a command line, and return the exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # for characters that the terminal cannot show
    try:
        code: int = options.command(options)
        sys.stdout.flush()  # otherwise a closed pipe raises only at exit
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
        description="read or copy a journal; it is neither locked nor changed",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, does in (
        (_ls, "print a summary"),
        (_read, "print its entries, one JSON object per line"),
        (_verify, "print damage, and the number of entries that can be saved"),
        (_consumers, "print its consumers and their positions"),
        (_copy, "copy it as of one moment, for a backup; also while it is in use"),
    ):
        sub = commands.add_parser(command.__name__[1:], help=does, description=does)
        sub.add_argument("path", type=Path, help="the folder of the journal")
        sub.set_defaults(command=command)
        if command is _read:
            for name, reads, metavar, what in (
                ("--after", _whole, "POSITION", "only entries after this position"),
                ("--since", _time, "TIME", "only entries since this ISO time, or seconds ago"),
                ("--last", _whole, "N", "only the newest N entries"),
            ):
                sub.add_argument(name, type=reads, metavar=metavar, help=what)
            matching = "only events that match one of these bindings; repeatable"
            sub.add_argument(
                "--binding", type=_binding, metavar="JSON", action="append", help=matching
            )
        if command is _copy:
            sub.add_argument("to", type=Path, metavar="TARGET", help="the new folder")
    return parser


# Commands


def _ls(options: argparse.Namespace) -> int:
    with _copied(options.path) as store:
        entries = existed(store.missing_ranges, store.first, store.last) if store.first else 0
        _print_field(
            "id", store.id if store.salvaged is None else "unknown, as the journal is damaged"
        )
        _print_field("entries", f"{entries:,}")
        ends = store.read(lambda disk: disk.ends())
        if ends is not None:
            oldest, newest = ends
            _print_field("positions", f"{oldest.first:,} to {newest.last:,}")
            _print_field("recorded", f"{time_of(oldest.since)} to")
            _print_field("", str(time_of(newest.until)))
        size = sum(file.stat().st_size for file in options.path.iterdir() if file.is_file())
        _print_field("bytes", f"{size:,}" + (f", {size / entries:.0f} an entry" if entries else ""))
        _print_field("consumers", ", ".join(sorted(store.consumers)) or "none")
    return 0


def _read(options: argparse.Namespace) -> int:
    # JSON can escape every character, for an output that is not in UTF-8.
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
            _print_field("damaged", "the database; it is salvaged when the journal is opened")
        for first, last, count in sorted(ranges):
            _print_field(
                "damaged", f"{count:,} entries at positions {first:,} to {last:,} are lost"
            )
        is_damaged = bool(ranges) or store.salvaged is not None
        _print_field("can be saved" if is_damaged else "sound", f"{sound:,} entries")
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
        reports: list[str] = []  # of a salvage of the copy
        store = BlockStore(
            copy,
            Limits(),
            full_sync=False,
            now=lambda: time.time_ns() // 1000,
            report=reports.append,
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
        raise JournalUnusableError("the folder does not exist; check the path", path)
    if not (path / DATABASE).is_file():
        raise JournalUnusableError(
            f"must be the folder of a journal, but it has no {DATABASE}; check the path", path
        )


def _print_field(what: str, text: str) -> None:
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
