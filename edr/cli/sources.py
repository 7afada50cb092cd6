"""Sources of events other than a running process: a broker, and the folder of a journal.

An observer of a broker is a bus with a link that receives the filtered events and sends none. The
URL with its password is never shown. An observer of a journal reads its files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from edr.cli.exits import CommandError, Exit
from edr.cli.filters import Document
from edr.errors import EdrError, shown

CONNECT_TIMEOUT = 10.0
"""Seconds for a broker to accept the connection and the interest."""

CAPACITY = 10_000
"""Events of a broker that wait for the output; beyond, the oldest are lost, and reported."""

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """Events from somewhere: an async iterator over messages.

    A message is ``{"is": "event", "event": {…}, "cursor": …}``, or ``{"is": "gap", "missed": n,
    "reason": …}`` in the place of lost events; the number is ``None`` if it is not known.

    Attributes:
        title: names the source in messages, without secrets.
    """

    title: str
    messages: AsyncIterator[Message]

    def __aiter__(self) -> AsyncIterator[Message]:
        return self.messages


@asynccontextmanager
async def open_source(
    target: str,
    *,
    bindings: Sequence[Document],
    last: int | None = None,
    after: str | None = None,
    follow: bool = True,
) -> AsyncIterator[Source]:
    """Open the source that ``target`` names, for the time of the block.

    Args:
        target: the URL of a NATS or RabbitMQ server, or the path of a journal.
        bindings: an event passes if one of them matches.
        last: begin with this many earlier events.
        after: begin after the event of this cursor.
        follow: go on with new events.

    Raises:
        CommandError: the source cannot be opened, or does not have earlier events.
        InvalidBindingError: a binding is not valid.
    """
    opened = _broker if "://" in target else _journal
    async with opened(target, bindings, last, after, follow=follow) as source:
        yield source


# Journals


@asynccontextmanager
async def _journal(
    target: str,
    bindings: Sequence[Document],
    last: int | None,
    after: str | None,
    *,
    follow: bool,
) -> AsyncIterator[Source]:
    from edr.journal import Entry, JournalFiles  # noqa: PLC0415 - tail of a process needs none
    from edr.records import Binding  # noqa: PLC0415

    if after is not None and not after.isdecimal():
        raise CommandError(
            Exit.USAGE, f"the cursor of a journal must be a position, got {shown(after)}"
        )
    position = None if after is None else int(after)
    wanted = [Binding.model_validate(document) for document in bindings]

    async def messages() -> AsyncGenerator[Message, None]:
        async with AsyncExitStack() as stack:
            if follow:
                items: Any = files.follow(*wanted, after=position, last=last)
                await stack.enter_async_context(aclosing(items))
            else:
                items = _in_turns(files.entries(*wanted, after=position or 0, last=last))
            async for item in items:
                if isinstance(item, Entry):
                    yield _event(item.event, str(item.position))
                else:
                    reason = "damage" if item.is_damage else "retention"
                    yield {"is": "gap", "missed": item.missed, "reason": reason}

    with JournalFiles(Path(target)) as files:
        async with aclosing(messages()) as opened:
            yield Source(target, opened)


async def _in_turns(items: Any) -> AsyncIterator[Any]:
    """Yield ``items``, with a turn of the loop before each, so that it can be interrupted."""
    for item in items:
        await asyncio.sleep(0)
        yield item


# Brokers


@asynccontextmanager
async def _broker(
    target: str,
    bindings: Sequence[Document],
    last: int | None,
    after: str | None,
    *,
    follow: bool,
) -> AsyncIterator[Source]:
    from edr.links import connect  # noqa: PLC0415 - tail of a process needs none
    from edr.records import Binding  # noqa: PLC0415

    if last is not None or after is not None or not follow:
        raise CommandError(
            Exit.USAGE,
            "a broker has only new events; -n, --after and --no-follow work with a process or a "
            "journal",
        )
    wanted = [Binding.model_validate(document) for document in bindings]
    async with AsyncExitStack() as stack:
        try:
            bus, link = await stack.enter_async_context(
                connect(target, send=(), receive=wanted, timeout=CONNECT_TIMEOUT)
            )
        except ValueError as exc:  # of the URL; the message has no part of it
            raise CommandError(Exit.USAGE, str(exc)) from None
        except ImportError as exc:
            raise CommandError(Exit.CONFIGURATION, str(exc)) from None
        except (EdrError, OSError) as exc:
            raise CommandError(Exit.UNAVAILABLE, str(exc)) from exc
        events = await stack.enter_async_context(
            bus.subscribe(*wanted, capacity=CAPACITY, overflow="drop_oldest", gaps=True)
        )
        await _ready(link)
        yield Source(link.name, _received(events, link))


async def _ready(link: Any) -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await link.ready()
    except TimeoutError:
        raise CommandError(
            Exit.UNAVAILABLE, f"{link.name} did not accept a connection in {CONNECT_TIMEOUT:g} s"
        ) from None
    except EdrError as exc:
        raise CommandError(Exit.UNAVAILABLE, str(exc)) from exc


async def _received(events: Any, link: Any) -> AsyncIterator[Message]:
    from edr.bus import Gap  # noqa: PLC0415 - loaded already

    reconnects = link.statistics().reconnects
    async for item in events:
        found = link.statistics().reconnects
        if found != reconnects:
            reconnects = found
            yield {"is": "gap", "missed": None, "reason": "disconnected"}
        if isinstance(item, Gap):
            yield {"is": "gap", "missed": item.missed, "reason": "slow"}
        else:
            yield _event(item, None)


def _event(event: Any, cursor: str | None) -> Message:
    return {"is": "event", "cursor": cursor, "event": orjson.loads(event.to_json())}
