"""The exceptions of the core. Each docstring says what happened to the event.

``InvalidEventError`` and ``InvalidBindingError`` are also ``ValueError``. Their ``path`` is the
place of the fault and their ``reason`` describes it. Errors of a subscriber are never raised in an
emitter: they are logged, counted and passed to ``on_error``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from edr._util.lazy import show_in_facade

if TYPE_CHECKING:
    from pydantic import ValidationError

    from edr.records import Event


_MOST_FAULTS = 10
"""Faults of one document that a message lists after the first. A hostile one has a million."""


class EdrError(Exception):
    """The root of all errors that edr raises."""


class _InvalidError(EdrError, ValueError):
    """The base of errors for a value that is not valid.

    Attributes:
        path: the place of the fault, such as ``body.calls[3].at``; empty for the whole value.
        reason: the fault.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    @classmethod
    def from_validation(
        cls, error: ValidationError, in_our_words: Callable[[Any], str | None] = lambda _: None
    ) -> Self:
        """Translate a pydantic error: the first fault gives ``path``, the others stand in the text.

        ``in_our_words(details)`` returns a better message than pydantic's, or ``None``.
        """
        # Only the faults that are shown: a translation with a suggestion takes 70 µs.
        listed = error.errors(include_url=False)[: 1 + _MOST_FAULTS]
        first, *others = [cls._fault(each, in_our_words) for each in listed]
        told = [first.reason, *map(str, others)]
        if more := error.error_count() - len(listed):
            told.append(f"and {more:,} more")
        reason = "; ".join(told)
        return cls(reason, first.path)

    @classmethod
    def _fault(cls, details: Mapping[str, Any], in_our_words: Callable[[Any], str | None]) -> Self:
        cause = details.get("ctx", {}).get("error")
        path = join_path(*details["loc"])
        if isinstance(cause, _InvalidError):
            # Our own validators know the path inside the field better than pydantic does.
            return cls(cause.reason, cause.path or path)
        return cls(in_our_words(details) or details["msg"].removeprefix("Value error, "), path)


class InvalidEventError(_InvalidError):
    """An event is not valid; ``path`` is the place. No subscription received it."""


class BodyTooLargeError(InvalidEventError):
    """A body is larger than ``Bus(max_body=…)``. No subscription received the event.

    ``path`` is ``body``. Links and other sources catch it to refuse one event and continue.
    """


class InvalidBindingError(_InvalidError):
    """A binding is not valid; ``path`` is the field. Nothing was registered."""


class BusClosedError(EdrError):
    """The bus or subscription is closed. No subscription received the event."""


class SocketPathError(EdrError):
    """The path of a Unix socket, or its folder, cannot be used or is not safe."""


class WrongLoopError(EdrError):
    """The bus belongs to another event loop, thread or process. Nothing was done."""


class SubscriptionOverflowError(EdrError):
    """The queue was full under ``Overflow.CLOSE``, so the subscription was closed.

    Attributes:
        name: the name of the subscription.
        missed: number of events that did not fit. Events queued before them were returned first.
    """

    def __init__(self, name: str, missed: int) -> None:
        super().__init__(name, missed)
        self.name = name
        self.missed = missed

    def __str__(self) -> str:
        return (
            f"subscription {self.name!r} overflowed and was closed: {self.missed} event(s) did "
            "not fit; take faster, or subscribe with more capacity or another overflow policy"
        )


class DeadlockError(EdrError):
    """A task emitted into a full BLOCK queue that only this task consumes.

    Waiting would never end. The event was dropped for this subscription and counted. Every other
    subscription with room received it; the emit waited for none.

    Attributes:
        name: the name of the subscription.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"the task that consumes subscription {self.name!r} emits into it, and it is full: "
            "emit from another task, or subscribe with more capacity or another overflow policy"
        )


MAX_REFUSALS = 32
"""Refusals that an error keeps, at most, as each keeps its event in memory. All are counted."""

MAX_NAMED_REFUSALS = 3
"""Refusals that the text of an error names, so that a log line stays readable."""


class JournalError(EdrError):
    """The base class of the errors of a journal, and the error for any other failure.

    From ``append``, ``flush`` and a durable emit it means that events are not known to be stored.
    The journal keeps accepted events and tries again, so they may still be stored.
    """


class Refusal(NamedTuple):
    """An event that a journal will never store."""

    event: Event
    reason: str
    """The error text of SQLite or the server."""


class EventsRefusedError(JournalError):
    """A journal refused events permanently. It does not try to store them again.

    The other events of the same call were stored.

    Args:
        refusals: the refused events; at least one.
        count: the number of refused events, if it is more than ``refusals`` has.
        limit: the number of refusals that the error keeps.

    Attributes:
        refusals: the first 32 refused events, in the order in which they were accepted; from
            ``Bus.publish_all`` all of them, because its caller has the events anyway.
        count: the number of refused events.
    """

    def __init__(
        self, refusals: Iterable[Refusal], count: int = 0, limit: int = MAX_REFUSALS
    ) -> None:
        given = tuple(refusals)
        self.count: int = max(count, len(given))
        self.refusals: tuple[Refusal, ...] = given[:limit]
        super().__init__(self.refusals, self.count, limit)

    def __str__(self) -> str:
        named = [
            f"event {each.event.id} of {each.event.app_name}: {each.reason}"
            for each in self.refusals[:MAX_NAMED_REFUSALS]
        ]
        if self.count > len(named):
            named.append(f"and {self.count - len(named)} more")
        events = "1 event was" if self.count == 1 else f"{self.count} events were"
        return f"{events} refused permanently and not stored ({'; '.join(named)})"


def kind_of(value: object) -> str:
    """Return the kind of a value for a message, in the words of JSON where it has one."""
    if value is None:
        return "null"
    for kind, name in _KINDS:
        if issubclass(type(value), kind):  # a mock's __class__ is the class that it replaces
            return name
    article = "an" if type(value).__name__[0] in "aeiouAEIOU" else "a"
    return f"{article} {type(value).__name__}"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    ((list, tuple), "an array"),
    (dict, "an object"),
)


def shown(value: object, longest: int = 60) -> str:
    """Return the ``repr`` of a value, cut to ``longest`` characters."""
    if isinstance(value, (str, bytes)):
        value = value[: longest + 1]  # before repr, which could be huge
    text = repr(value)
    return text if len(text) <= longest + 2 else f"{text[:longest]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'severity'?`` for the known word that is nearest, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - 7 ms, which only a fault has to pay

    by_spelling = {each.replace("_", "-"): each for each in known}
    nearest = get_close_matches(word[:60].replace("_", "-"), by_spelling, n=1)
    return f"; did you mean {by_spelling[nearest[0]]!r}?" if nearest else ""


def join_path(*parts: str | int) -> str:
    """Return a path as text: ``body.calls[3].at``, ``body["a.b"]``.

    The ends of long names and the middle of long paths are replaced by ``…``.
    """
    path = "".join(map(_step, parts)).removeprefix(".")
    if len(path) <= _LONGEST_PATH:
        return path
    return f"{path[: _LONGEST_PATH // 2]}…{path[-_LONGEST_PATH // 2 :]}"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part.isidentifier() and len(part) <= _LONGEST_STEP:
        return f".{part}"
    text = part if len(part) <= _LONGEST_STEP else f"{part[:_LONGEST_STEP]}…"
    return f"[{text!r}]" if '"' in text else f'["{text}"]'


_LONGEST_PATH = 300
_LONGEST_STEP = 80


show_in_facade(__name__)
