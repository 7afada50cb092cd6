"""``live_faults``: whether the files and peers of a configuration can be reached at this moment.

Each file is opened without being changed, and each peer gets one connection, which is closed at
once. A fault is a warning: a peer may be down, and the application starts without it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edr.app.config.faults import Location, Note, notes_at
from edr.app.config.model import Configuration
from edr.app.config.secret import SecretError, Secrets
from edr.app.config.sinks import FileSinkConfig
from edr.app.config.sources import SocketSourceConfig
from edr.errors import shown
from edr.journal import JournalError, JournalFiles

TIMEOUT = 5.0
"""Seconds for one connection."""

PORTS = {"http": 80, "https": 443, "amqp": 5672, "amqps": 5671, "nats": 4222, "tls": 4222}
PORTS |= {"ws": 80, "wss": 443}


async def live_faults(configuration: Configuration, secrets: Secrets) -> tuple[Note, ...]:
    """Return what cannot be opened or reached now, and consumers of the journal without a part."""
    found = list(_files(configuration))
    if configuration.journal.full != "block":  # blocking_consumers has them
        found += [
            (("journal",), f"the consumer {shown(name)} has no part; its backlog is kept")
            for name in consumers_without_part(configuration)
        ]
    remotes = [
        ((f"{kind}s", name, "url"), url)
        for kind, name, part in configuration.parts()
        if (url := getattr(part, "url", None)) is not None
    ]
    faults = await asyncio.gather(*(_remote(secrets, url) for _, url in remotes))
    found += [(place, fault) for (place, _), fault in zip(remotes, faults, strict=True) if fault]
    return notes_at(found, {})


def consumers_without_part(configuration: Configuration) -> list[str]:
    """Return the consumers of the journal that no part of the configuration has."""
    names = {*configuration.sinks, *configuration.links}
    return [each for each in _consumers(configuration) if _part_of(each) not in names]


def blocking_consumers(configuration: Configuration) -> tuple[Note, ...]:
    """Return the consumers that no enabled part reads, if a full journal waits for them.

    Their unread entries stop all sources, sooner or later.
    """
    if configuration.journal.full != "block":
        return ()
    names = {name for _, name, _ in configuration.parts()}
    folder = shlex.quote(str(_journal(configuration)))
    found = []
    for each in _consumers(configuration):
        if _part_of(each) not in names:
            message = (
                f'the consumer {shown(each)} has no enabled part; with full = "block" its unread '
                "entries will stop all sources; remove it with: "
                f"edr journal forget {folder} {shlex.quote(each)}"
            )
            found.append((("journal", "full"), message))
    return notes_at(found, {})


def _consumers(configuration: Configuration) -> list[str]:
    with suppress(JournalError, OSError), JournalFiles(_journal(configuration)) as files:
        return [each.name for each in files.consumers()]
    return []  # no journal was created yet


def _part_of(consumer: str) -> str | None:
    """Return the name of the sink or link that may have this consumer."""
    kind, _, name = consumer.partition(":")
    return name if kind in ("sink", "link") else None


def _journal(configuration: Configuration) -> Path:
    return configuration.app.data_dir / "journal"


def _files(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    data = configuration.app.data_dir
    if (folder := _nearest(data)) is not None and not os.access(folder, os.W_OK | os.X_OK):
        yield ("app", "data_dir"), f"the folder {folder} is not writable for this user"
    for kind, name, part in configuration.parts():
        if isinstance(part, FileSinkConfig | SocketSourceConfig):
            place = (f"{kind}s", name, "path")
            if not part.path.parent.is_dir():
                yield place, f"the folder {part.path.parent} does not exist"
            elif not os.access(part.path.parent, os.W_OK | os.X_OK):
                yield place, f"the folder {part.path.parent} is not writable for this user"
            elif isinstance(part, FileSinkConfig) and (fault := _fault_of_file(part.path)):
                yield place, f"the file {part.path} {fault}"


def _fault_of_file(path: Path) -> str | None:
    """Return why a file sink could not append to ``path``; ``None`` also if it does not exist."""
    try:
        # Without O_NONBLOCK, the call would wait for the reader of a FIFO.
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return f"cannot be opened: {exc.strerror}"
    try:
        return None if stat.S_ISREG(os.fstat(opened).st_mode) else "must be a regular file"
    finally:
        os.close(opened)


def _nearest(path: Path) -> Path | None:
    """Return ``path`` or the nearest folder above it that exists."""
    return next((each for each in (path, *path.parents) if each.is_dir()), None)


async def _remote(secrets: Secrets, url: Any) -> str | None:
    try:
        parts = urlsplit(secrets.text(url))
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 80)
    except (SecretError, ValueError):
        return None  # the check has reported it
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"port {port} of the host did not answer within {TIMEOUT:g} s"
    except OSError as exc:
        return f"port {port} of the host cannot be reached: {_reason(exc)}"
    writer.close()
    return None


def _reason(error: OSError) -> str:
    """Return the system's text. Others contain the address, which may be part of a secret."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else "unknown host"
