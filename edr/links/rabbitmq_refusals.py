"""Why RabbitMQ closed a channel on which events were published, read from its own words.

AMQP says that a channel was closed, with a code and a text, and not for which of the messages that
were on their way. These few texts say more; they are RabbitMQ's, of 3.10 to 4.x. Any other text
means that some event was refused, and sending them one by one finds it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from time import monotonic

import aiormq.exceptions as amqp

_TOO_LARGE = re.compile(r"message size \d+ (?:is )?larger than (?:configured )?max size (\d+)")
_TOPIC = re.compile(r"(?:write )?access to topic ")

DENIED_FOR = 60.0
"""Seconds for which events of a key that the broker did not permit are not tried again: each costs
a connection, and permissions change seldom."""

MAX_KEYS = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal of the broker."""

    words: str
    """The text of the broker."""
    reason: str | None
    """The reason under which the event is counted: ``too_large``, ``not_permitted``, ``refused``;
    ``None`` if no event caused the refusal."""
    is_of_all: bool = False
    """Whether every event would be refused, whatever it is."""
    is_of_key: bool = False
    """Whether every event of the same key would be refused."""
    max_bytes: int = sys.maxsize
    """Bytes of the largest message that the broker takes, if it says so."""


def refusal_of(exc: amqp.ChannelClosed) -> Refusal | None:
    """Return why the broker closed the channel; ``None`` if it was not the broker who did."""
    words = "; ".join(str(each) for each in exc.args if isinstance(each, str) and each)
    if not words:
        return None
    if isinstance(exc, amqp.ChannelNotFoundEntity):  # the exchange was deleted; it is made again
        return Refusal(words, None)
    if isinstance(exc, amqp.ChannelAccessRefused):
        is_of_key = _TOPIC.search(words) is not None
        return Refusal(words, "not_permitted", is_of_all=not is_of_key, is_of_key=is_of_key)
    if found := _TOO_LARGE.search(words):
        return Refusal(words, "too_large", max_bytes=int(found[1]))
    return Refusal(words, "refused")


class DeniedKeys:
    """The keys under which the broker did not permit to publish, for a while."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, str]] = {}

    def add(self, key: str, words: str) -> None:
        """Remember that the broker does not permit ``key``, and its words."""
        if len(self._until) >= MAX_KEYS:
            self._until.clear()
        self._until[key] = (monotonic() + DENIED_FOR, words)

    def get(self, key: str) -> str | None:
        """Return the broker's words if it does not permit ``key``."""
        until, words = self._until.get(key, (0.0, ""))
        if until > monotonic():
            return words
        self._until.pop(key, None)
        return None

    def clear(self) -> None:
        """Forget all: it is another connection."""
        self._until.clear()
