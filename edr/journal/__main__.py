"""``python -m edr.journal``: look into a journal, also one that is damaged, or in use.

It reads the pages of the file itself, locks nothing and changes nothing. Of a journal that is in
use it sees what is committed; what is written at this very moment may look damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edr import Binding, EdrError
from edr.journal.codec import DamagedBlock, decode, decode_keys, time_of
from edr.journal.errors import JournalUnusable
from edr.journal.folder import DATABASE
from edr.journal.journal import Entry
from edr.journal.pages import Pages
from edr.journal.selection import Selection

OnProgress = Callable[[int, int], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        sys.stdout.flush()  # else who reads the pipe is missed only when the program exits
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except JournalUnusable as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - it is what it is for
        return 1
    except (EdrError, OSError) as exc:
        print(f"{options.path}: {exc}", file=sys.stderr)  # noqa: T201 - it is what it is for
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m edr.journal", description="look into a journal; nothing is locked or changed"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command, does in (
        (_ls, "what it holds, in a few lines"),
        (_read, "its entries, a JSON object a line"),
        (_verify, "what is damaged, and what can be saved"),
        (_readers, "who reads it, and how far"),
    ):
        sub = commands.add_parser(command.__name__[1:], help=does, description=does)
        sub.add_argument("path", type=Path, help="the journal's folder")
        sub.set_defaults(command=command)
        if command is _read:
            sub.add_argument("--after", type=_whole, default=0, help="behind this position")
            sub.add_argument("--since", type=_time, help="ISO time, or seconds ago")
            sub.add_argument("--last", type=_whole, help="only so many, the newest")
            sub.add_argument("--binding", type=_binding, action="append", help="JSON; repeatable")
    return parser


# Commands


def _ls(options: argparse.Namespace) -> int:
    with _scanned(options.path) as pages:
        entries = sum(block.last - block.first + 1 for block in pages.blocks)
        _say("id", pages.facts.id if pages.facts else "unknown")
        _say("entries", f"{entries:,} in {len(pages.blocks):,} blocks")
        if pages.blocks:
            first, last = pages.blocks[0], pages.blocks[-1]
            _say("positions", f"{first.first:,} to {last.last:,}")
            _say("recorded", f"{time_of(pages.block(first).since)} to")
            _say("", str(time_of(pages.block(last).until)))
        size = sum(file.stat().st_size for file in options.path.iterdir() if file.is_file())
        _say("bytes", f"{size:,}" + (f", {size / entries:.0f} an entry" if entries else ""))
        _say("readers", ", ".join(sorted(pages.readers)) or "none")
    return 0


def _read(options: argparse.Namespace) -> int:
    selection = Selection(options.binding or ())
    with _scanned(options.path) as pages:
        entries = _entries(pages, selection, options.after)
        if options.since is not None:
            entries = (entry for entry in entries if entry.recorded_at >= options.since)
        if options.last is not None:
            entries = iter(list(entries)[-options.last :] if options.last else ())
        for entry in entries:
            line = {
                "position": entry.position,
                "recorded_at": entry.recorded_at.isoformat(),
                "event": json.loads(entry.event.to_json()),
            }
            print(json.dumps(line, ensure_ascii=False))  # noqa: T201 - it is what it is for
    return 0


def _verify(options: argparse.Namespace) -> int:
    damaged: list[str] = []
    saved = 0
    with _scanned(options.path) as pages:
        holes = pages.facts.holes if pages.facts else ()
        position = None
        for found in pages.blocks:
            if position is not None and found.first > position + 1:
                known = any(hole.low <= position + 1 <= hole.high for hole in holes)
                if not known:
                    damaged.append(f"positions {position + 1:,} to {found.first - 1:,} are missing")
            try:
                pages.block(found).check()
                saved += found.last - found.first + 1
            except DamagedBlock:
                damaged.append(f"positions {found.first:,} to {found.last:,} cannot be read")
            position = found.last
        if not pages.is_whole:
            damaged.append("the file is shorter than it says, or has blank pages")
        if pages.facts is None:
            damaged.append("it does not know itself: its id is lost")
    for each in damaged:
        _say("damaged", each)
    _say("sound" if not damaged else "can be saved", f"{saved:,} entries")
    return 1 if damaged else 0


def _readers(options: argparse.Namespace) -> int:
    with _scanned(options.path) as pages:
        last = pages.blocks[-1].last if pages.blocks else 0
        rows: list[tuple[str, ...]] = [
            ("name", "position", "behind", "unacked", "missed", "last ack")
        ]
        for name, reader in sorted(pages.readers.items()):
            acked = str(time_of(reader.last_ack)) if reader.last_ack is not None else "never"
            counts = (reader.position, max(0, last - reader.position), len(reader.unacked))
            rows.append((name, *map(str, counts), str(reader.missed), acked))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())  # noqa: T201 - it is what it is for
    return 0


# Inner parts


def _entries(pages: Pages, selection: Selection, after: int) -> Iterator[Entry]:
    for found in pages.blocks:
        if found.last <= after:
            continue
        try:
            block = pages.block(found)
            keys = decode_keys(block)
            wanted = selection.wanted(keys)
            if any(wanted):
                yield from decode(block, keys, wanted, after)
        except DamagedBlock:
            text = f"positions {found.first} to {found.last} cannot be read"
            print(text, file=sys.stderr)  # noqa: T201 - it is what it is for


@contextmanager
def _scanned(path: Path) -> Iterator[Pages]:
    database = path / DATABASE
    if not database.is_file():
        raise JournalUnusable(f"there is no {DATABASE} in it, so it is no journal's folder", path)
    with Pages(database) as pages:
        with _progress(f"reading {path.name}") as on_progress:
            pages.scan(on_progress)
        yield pages


@contextmanager
def _progress(what: str) -> Iterator[OnProgress | None]:
    """Show how far it is on a terminal: with rich if that is there, else in a plain line."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - it need not be there
        from rich.progress import Progress  # noqa: PLC0415
    except ImportError:

        def on_progress(done: int, of: int) -> None:
            print(f"\r{what}: {done * 100 // of} %", end="", file=sys.stderr)  # noqa: T201

        yield on_progress
        print("\r\033[K", end="", file=sys.stderr)  # noqa: T201
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _say(what: str, text: str) -> None:
    print(f"{what:<13} {text}")  # noqa: T201 - it is what it is for


def _time(text: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time, as 2026-01-31T12:00, nor a number of seconds"
        ) from None
    return time if time.tzinfo is not None else time.astimezone()


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


def _binding(text: str) -> Any:
    try:
        return Binding.model_validate_json(text)
    except EdrError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


if __name__ == "__main__":
    sys.exit(main())
