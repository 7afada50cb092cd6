"""``Batch`` and ``Retry``: when a batch is complete, and when it is sent again."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The limits of one call of ``Sink.write``.

    Raises:
        ValueError: a limit is out of range.
    """

    events: int = 1
    """The most events."""
    bytes: int = 512 * 1024
    """The most bytes of JSON, by the bodies and ``OVERHEAD`` for each event. One event is sent
    whatever its size is."""
    linger: float = 0.0
    """Seconds to wait for further events after the first one; 0 sends the events at hand."""

    def __post_init__(self) -> None:
        _check_whole("events", self.events, 1)
        _check_whole("bytes", self.bytes, 1)
        _check_seconds("linger", self.linger, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The delays between attempts, in seconds.

    The delay before attempt n + 1 is drawn between 0 and ``base * factor ** (n - 1)``, at most
    ``cap``. It begins with ``base`` again after 60 seconds without a failure.

    Raises:
        ValueError: a value is out of range.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 60.0
    give_up_after: float | None = None
    """Seconds after which an event that was not delivered becomes a dead letter, counted from when
    the journal stored it. ``None``: never."""

    def __post_init__(self) -> None:
        _check_seconds("base", self.base, 0)
        _check_seconds("factor", self.factor, 1)
        _check_seconds("cap", self.cap, 0)
        if self.give_up_after is not None:
            _check_seconds("give_up_after", self.give_up_after, 0)


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_seconds(name: str, value: object, least: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value < inf:
        raise ValueError(f"{name} must be a finite number of at least {least}, got {value!r}")
