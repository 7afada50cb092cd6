"""``deliver``: dead letters of a sink once more, and ``dead_letters_of``: where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from edr.app.config import Configuration, Secrets
from edr.app.factory import dead_letters_file, make_sink
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


def dead_letters_of(configuration: Configuration, sink: str) -> DeadLetters:
    """Return the dead letters of a sink."""
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
        configuration: has the sink.
        name: the name of the sink.
        is_meant: returns True for the letters to send.
        secrets: the values of the secrets; by default they are read from the environment.

    Raises:
        UnsupportedPartError: the sink is a link, or needs an extra that is not installed.
        SecretError: a secret cannot be read.
    """
    part = configuration.sinks[name]
    letters = dead_letters_of(configuration, name)
    meant = [letter for letter in await asyncio.to_thread(list, letters.read()) if is_meant(letter)]
    sink = make_sink(name, part, secrets or Secrets())
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
            except Exception as exc:  # sinks raise anything
                error = str(exc) or type(exc).__name__
                break
            await asyncio.to_thread(letters.remove, letter.__eq__)
            delivered += 1
    finally:
        await _close(sink)
    return Retried(delivered, len(meant) - delivered, error)


async def _close(sink: Sink) -> None:
    with suppress(Exception):  # everything that counts was written
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await sink.aclose()
