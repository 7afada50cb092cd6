"""Every exception of edr: whose fault it is, and what became of the event.

``InvalidEventError`` and ``InvalidBindingError`` are also ``ValueError``; they say where the fault
is (``path``) and what it is (``reason``). Whatever a subscriber does wrong is never raised
in an emitter: it is logged, counted, and handed to ``on_error``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pydantic import ValidationError


_MOST_FAULTS = 10
"""Faults of one document that are told beside the first; a hostile one has a million."""


class EdrError(Exception):
    """The root of all errors that edr raises."""


class _InvalidError(EdrError, ValueError):
    """A value that edr refuses.

    Attributes:
        path: where the fault is, such as ``body.calls[3].at``; empty for the whole value.
        reason: what is wrong there.
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
        """Translate pydantic's error: the first fault as ``path``, the others in the text.

        ``in_our_words(details)`` says what pydantic cannot know, or nothing.
        """
        faults = [cls._fault(each, in_our_words) for each in error.errors(include_url=False)]
        first, *others = faults
        told = [first.reason, *map(str, others[:_MOST_FAULTS])]
        if len(others) > _MOST_FAULTS:
            told.append(f"and {len(others) - _MOST_FAULTS:,} more")
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
    """What you emit is wrong: ``path`` says where. It reached nobody."""


class BodyTooLargeError(InvalidEventError):
    """A body is larger than ``Bus(max_body=…)``; no subscriber got the event.

    ``path`` is ``body``. Links and other sources catch it to refuse one event and go on.
    """


class InvalidBindingError(_InvalidError):
    """What you bind is wrong: ``path`` names the field. Nothing was registered."""


class BusClosedError(EdrError):
    """You used a bus after ``drain`` or ``aclose``. The event reached nobody."""


class WrongLoopError(EdrError):
    """You used a bus from another event loop or thread, or after a fork; it reached nobody."""


class SubscriptionOverflowError(EdrError):
    """You fell behind under ``Overflow.CLOSE``; the subscription has ended.

    Attributes:
        name: the subscription's.
        missed: how many events did not fit. What was queued before them was returned first.
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
    """You emitted into a full BLOCK queue from the task that consumes it.

    Waiting could never end. The event was dropped for this subscription (and counted); every
    other subscription that had room took it, and nobody was waited for.

    Attributes:
        name: the subscription's.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"the task that consumes subscription {self.name!r} emits into it, and it is full: "
            "emit from another task, or subscribe with more capacity or another overflow policy"
        )


def kind_of(value: object) -> str:
    """Name what a value is, in JSON's words where it is of JSON."""
    if value is None:
        return "null"
    for kind, name in _KINDS:
        if issubclass(type(value), kind):  # a mock's __class__ says what it stands for
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
    """Return the ``repr`` of a value, cut where nobody would read on."""
    if isinstance(value, (str, bytes)):
        value = value[: longest + 1]  # its repr could be as long as a message must not be
    text = repr(value)
    return text if len(text) <= longest + 2 else f"{text[:longest]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'severity'?`` for the known word that is nearest, or nothing."""
    by_spelling = {each.replace("_", "-"): each for each in known}
    nearest = get_close_matches(word[:60].replace("_", "-"), by_spelling, n=1)
    return f"; did you mean {by_spelling[nearest[0]]!r}?" if nearest else ""


def join_path(*parts: str | int) -> str:
    """Write a path as a reader would: ``body.calls[3].at``, ``body["a.b"]``.

    What nobody would read is left out, with a ``…`` in its place: the ends of long names, the
    middle of long paths.
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
