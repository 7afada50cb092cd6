"""The emit of one event in a process, for the commands that emit several."""

from __future__ import annotations

from typing import Any

from edr.cli.exits import CommandError, Exit
from edr.control.client import Client
from edr.control.errors import ConnectionLostError, RemoteError


async def emit_one(
    client: Client, place: str, event: dict[str, Any], *, durable: bool = False
) -> dict[str, Any]:
    """Emit an event, and return the answer of the process: ``event_id`` and ``matched``.

    Args:
        client: the process.
        place: the place of the event in the input, for errors.
        event: the event.
        durable: wait until the journal has stored it.

    Raises:
        CommandError: the event is not valid.
        RemoteError: the process refused it.
        ConnectionLostError: the connection was lost before the answer.
    """
    try:
        answer = await client.ask("emit", event=event, durable=durable)
    except RemoteError as exc:
        if exc.code not in {"invalid_event", "body_too_large"}:
            raise
        raise CommandError(Exit.BAD_INPUT, f"{place}: {exc}") from exc
    except ValueError as exc:  # it has more than 1 MiB
        raise CommandError(Exit.BAD_INPUT, f"{place}: {exc}") from exc
    if answer["is"] != "emitted":  # the request was cancelled, with the event or without it
        raise ConnectionLostError("the connection was closed before the process had answered")
    return answer


def unfinished(error: BaseException, done: int) -> CommandError | None:
    """Return the error of a command whose process ended after ``done`` events, else ``None``."""
    is_closed = isinstance(error, RemoteError) and error.code == "bus_closed"
    if done and (is_closed or isinstance(error, ConnectionLostError)):
        return CommandError(Exit.UNFINISHED, str(error))
    return None
