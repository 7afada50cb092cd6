"""Running processes: which one a name means, and a connection to it.

A name is that of ``expose``, ``NAME.PID``, a process id, a unique beginning of a name, or the path
of a socket. Without a name, the only exposed process is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from cyclopts import Parameter

from edr.cli.exits import CommandError, Exit
from edr.cli.filters import Document, FilterFlags
from edr.control.client import Client, connect
from edr.control.errors import ConnectionLostError
from edr.control.finding import Found, find
from edr.errors import did_you_mean, shown

T = TypeVar("T")

ProcessName: TypeAlias = Annotated[
    str | None,
    Parameter(
        "PROCESS",
        help="a name of edr ls or its beginning, NAME.PID, a process id or the path of a socket; "
        "not needed if only one process is exposed",
    ),
]

MAX_LISTED = 20
"""Processes that an error lists."""


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a command that waits. Ctrl-C cancels it, and then raises ``KeyboardInterrupt``."""
    return asyncio.run(command)


def is_path(name: str) -> bool:
    """Return whether ``name`` is a path or an address, and not the name of a process."""
    return "/" in name


def locate(name: str | None) -> Path:
    """Return the path of the socket that ``name`` means.

    Raises:
        CommandError: no process has the name, or several have it.
    """
    if name is not None and is_path(name):
        return Path(name)
    found = find()
    if not found:
        raise CommandError(
            Exit.UNAVAILABLE,
            "no process is exposed; edr run is, and a service by: await edr.control.expose()",
        )
    meant = found if name is None else _named(found, name)
    if len(meant) == 1:
        return meant[0].path
    if meant:
        reason = "several processes are exposed" if name is None else f"{shown(name)} is not unique"
        raise CommandError(Exit.USAGE, f"{reason}; name one of them:\n{_listed(meant)}")
    nearest = did_you_mean(str(name), [each.name for each in found])
    raise CommandError(
        Exit.UNAVAILABLE, f"no process {shown(name)} is exposed{nearest}; edr ls lists them"
    )


def _named(found: Sequence[Found], name: str) -> Sequence[Found]:
    exact = [each for each in found if name in (each.name, full_name(each), str(each.pid))]
    return exact or [each for each in found if full_name(each).startswith(name)]


def full_name(found: Found) -> str:
    """Return ``NAME.PID``, which is unique."""
    return f"{found.name}.{found.pid}"


def _listed(found: Sequence[Found]) -> str:
    lines = [f"  {full_name(each)}" for each in found[:MAX_LISTED]]
    if len(found) > MAX_LISTED:
        lines.append(f"  and {len(found) - MAX_LISTED:,} more")
    return "\n".join(lines)


@asynccontextmanager
async def attach(name: str | None) -> AsyncIterator[Client]:
    """Connect to the process that ``name`` means, for the time of the block.

    Raises:
        CommandError: no process has the name, several have it, or it belongs to another user.
        edr.control.ConnectionLostError: the process does not answer.
    """
    path = locate(name)
    try:
        client = await connect(path)
    except ConnectionLostError as exc:
        if isinstance(exc.__cause__, PermissionError):
            raise CommandError(
                Exit.NOT_PERMITTED,
                f"the socket {path} belongs to another user; use the account of the process",
            ) from exc
        raise
    async with client:
        yield client


async def bindings_of(client: Client, filters: FilterFlags) -> list[Document]:
    """Return the bindings that the flags describe; those of ``--binding @PART`` from ``client``.

    Raises:
        CommandError: a flag is not valid, or names an unknown part.
        edr.control.ConnectionLostError: the connection was lost.
    """
    parts = {} if filters.part is None else await _bindings_by_name(client)

    def of_part(name: str) -> list[Document]:
        if name not in parts:
            raise CommandError(
                Exit.BAD_INPUT,
                f"--binding @{name}: there is no such subscription or part"
                f"{did_you_mean(name, parts)}; edr bindings lists them",
            )
        documents = parts[name]
        if documents is None:
            raise CommandError(Exit.BAD_INPUT, f"--binding @{name}: has too many bindings to copy")
        if not documents:
            raise CommandError(Exit.BAD_INPUT, f"--binding @{name}: has no binding")
        return documents

    return filters.documents(of_part)


async def _bindings_by_name(client: Client) -> dict[str, list[Document] | None]:
    found: dict[str, list[Document] | None] = {}
    async for message in client.request("bindings"):
        for item in message.get("items", ()):
            # A name is unique among those of its kind. A part may have that of a subscription.
            found.setdefault(item["name"], item["bindings"])
            found[f"{item['kind']} {item['name']}"] = item["bindings"]
    return found
