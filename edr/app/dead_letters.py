"""``deliver``: dead letters of a sink or link once more; ``dead_letters_of``: where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from edr.app.config import (
    Configuration,
    LinkConfig,
    NatsSinkConfig,
    RabbitSinkConfig,
    Secrets,
    SinkConfig,
)
from edr.app.factory import dead_letters_file, link_maker, make_sink
from edr.records import EVERY_EVENT
from edr.sinks import DeadLetter, DeadLetters, RejectError, Sink

CLOSE_TIMEOUT = 5.0
"""Seconds for the sink to close."""


class Retried(NamedTuple):
    """The result of ``deliver``."""

    delivered: int
    left: int
    """Dead letters that are kept: rejected again, or not sent."""
    error: str | None
    """Why the last one was not delivered; ``None`` if all were."""


def senders_of(configuration: Configuration) -> dict[str, SinkConfig | LinkConfig]:
    """Return the sinks, and the links that send, by name: the parts that may have dead letters."""
    links = {name: link for name, link in configuration.links.items() if link.send}
    return {**configuration.sinks, **links}


def dead_letters_of(configuration: Configuration, sink: str) -> DeadLetters:
    """Return the dead letters of a sink or a link."""
    return DeadLetters(dead_letters_file(configuration.app.data_dir, sink))


async def deliver(
    configuration: Configuration,
    name: str,
    is_meant: Callable[[DeadLetter], bool],
    *,
    secrets: Secrets | None = None,
) -> Retried:
    """Send dead letters to their sink, one by one, and remove the delivered ones.

    A letter that is rejected again is kept. At any other fault the rest is not sent. A crash
    between the delivery and the removal lets an event be delivered twice.

    Args:
        configuration: has the sink or link.
        name: the name of the sink or link.
        is_meant: returns True for the letters to send.
        secrets: the values of the secrets; by default they are read from the environment.

    Raises:
        UnsupportedPartError: the sink needs an extra that is not installed.
        SecretError: a secret cannot be read.
    """
    part = senders_of(configuration)[name]
    letters = dead_letters_of(configuration, name)
    meant = [letter for letter in await asyncio.to_thread(list, letters.read()) if is_meant(letter)]
    sink = _sink_of(name, part, secrets or Secrets())
    delivered = 0
    error = None
    try:
        for number, letter in enumerate(meant):
            try:
                async with asyncio.timeout(part.timeout):
                    if not number:
                        await sink.open()
                    await sink.write([letter.event])
            except RejectError as exc:
                error = f"event {letter.event.id} was rejected again: {exc}"
                continue
            except TimeoutError:
                error = f"it was not delivered within {part.timeout:g} s"
                break
            except Exception as exc:  # sinks raise anything
                error = str(exc) or type(exc).__name__
                break
            await asyncio.to_thread(letters.remove, letter.__eq__)
            delivered += 1
    finally:
        await _close(sink)
    return Retried(delivered, len(meant) - delivered, error)


def _sink_of(name: str, part: SinkConfig | LinkConfig, secrets: Secrets) -> Sink:
    if isinstance(part, RabbitSinkConfig | NatsSinkConfig | LinkConfig):
        from edr.app.link_sink import LinkSink  # noqa: PLC0415 - the other sinks need no link

        return LinkSink(
            lambda bus: link_maker(bus, name, part, secrets, receive=())((EVERY_EVENT,), None)
        )
    return make_sink(name, part, secrets)


async def _close(sink: Sink) -> None:
    with suppress(Exception):  # everything that counts was written
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await sink.aclose()
