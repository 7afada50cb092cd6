"""Checks of options, made when they are given, so that no task fails on one later."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from math import inf, isnan
from typing import TypeVar

from edr._util.text import is_encodable
from edr.errors import did_you_mean

E = TypeVar("E", bound=StrEnum)


def whole_number(name: str, value: object, *, at_least: int) -> int:
    """Return ``value``, an integer of at least ``at_least``.

    Raises:
        TypeError: it is not an integer, such as ``True`` or ``2.0``.
        ValueError: it is too small.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value!r}")
    return value


def seconds(name: str, value: object, *, zero: bool = False, infinite: bool = True) -> float:
    """Return ``value``, a number of seconds above 0, or with ``zero`` at least 0.

    Raises:
        TypeError: it is not a number.
        ValueError: it is too small, NaN, or infinite without ``infinite``.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if isnan(value) or value < 0 or (value == 0 and not zero):
        least = "0 seconds or more" if zero else "more than 0 seconds"
        raise ValueError(f"{name} must be {least}, got {value!r}")
    if value == inf and not infinite:
        raise ValueError(f"{name} must be finite, got {value!r}")
    return value


def check_timeout(value: object) -> None:
    """Check that ``value`` can be the ``timeout`` of a wait: ``None`` or at least 0 seconds.

    Raises:
        TypeError, ValueError: it is not.
    """
    if value is not None:
        seconds("timeout", value, zero=True)


def check_name(value: object) -> None:
    """Check that ``value`` can be a ``name``: a string or ``None``. An empty name counts as none.

    Raises:
        TypeError: it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"name must be a string, got {value!r}")


def text(option: str, value: object) -> str:
    """Return ``value``, a string that is not empty and can be sent.

    Raises:
        TypeError: it is not a string.
        ValueError: it is empty, or has a lone surrogate, which no encoding can write.
    """
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a string, got {value!r}")
    if not value or not is_encodable(value):
        raise ValueError(f"{option} must be a non-empty string in UTF-8, got {value!r}")
    return str.__str__(value)


def choice(name: str, value: object, choices: type[E]) -> E:
    """Return the member of ``choices`` that ``value`` is or names.

    Raises:
        ValueError: it is not a member; the message lists them.
    """
    try:
        return choices(value)  # type: ignore[arg-type]  # any value may be given
    except ValueError:
        hint = did_you_mean(value, map(str, choices)) if isinstance(value, str) else ""
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}"
        ) from None


def keywords(call: str, given: Iterable[str], known: Collection[str]) -> None:
    """Check that every keyword is an argument of ``call``.

    Raises:
        TypeError: one is not; the message suggests a name.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{call} has no argument {name!r}{did_you_mean(name, known)}")


def function(name: str, value: object) -> None:
    """Check that ``value`` is callable, and not a generator function.

    Raises:
        TypeError: it is not callable, or a call would not run its body.
    """
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    if _is(inspect.isasyncgenfunction, value) or _is(inspect.isgeneratorfunction, value):
        raise TypeError(
            f"{name} must be a function, got the generator {value!r}: a call would not run it"
        )


def accepts(name: str, value: Callable[..., object], *arguments: str) -> None:
    """Check that ``value`` can be called with these positional arguments.

    A callable without a signature, such as one written in C, passes.

    Raises:
        TypeError: it cannot; the message shows both signatures.
    """
    try:
        # Not that of a wrapped function: a decorator may add arguments of its own.
        signature = inspect.signature(value, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        called = getattr(value, "__qualname__", None) or repr(value)
        raise TypeError(
            f"{name} must accept ({', '.join(arguments)}), got {called}{signature}"
        ) from None


def plain_function(name: str, value: object) -> None:
    """Check that ``value`` is a plain function, not an async one.

    Raises:
        TypeError: it is not callable, or async.
    """
    function(name, value)
    if _is(inspect.iscoroutinefunction, value):
        raise TypeError(f"{name} must be a plain function, got the async {value!r}")


def _is(kind: Callable[[object], bool], value: object) -> bool:
    return kind(value) or kind(getattr(value, "__call__", None))  # noqa: B004 - instances too
