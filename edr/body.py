"""The checked, immutable snapshot of an event's body.

The emitter keeps its own object, and one event goes to many subscribers. So the body is
copied and checked once, at emit, into containers that refuse to change: no subscriber can
alter what another sees, and no backend meets a value that is not JSON.

Rejected: a copy for each subscriber (a hundred copies in a fan-out of a hundred); a JSON round
trip (twice the time of one walk, and orjson writes NaN as null); a read-only proxy (not a
``dict``: neither ``json`` nor ``orjson`` nor ``isinstance`` would take it).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from math import isfinite
from typing import Any, Never

from edr.errors import InvalidEvent, join_path

MAX_DEPTH = 128
"""Containers in containers, the body itself being the first. JSON readers commonly stop
between 100 and 1,000; Python's own recursion limit is 1,000 frames."""

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""What 64 bits hold, signed or unsigned: the widest range that JSON readers agree on."""


def _refuse(_self: object, *_args: object, **_kwargs: object) -> Never:
    raise TypeError("an event's body cannot change; copy.deepcopy(event.body) is yours to change")


class FrozenDict(dict[str, Any]):
    """A JSON object that cannot change; equal to the plain ``dict`` of the same items.

    ``copy.deepcopy`` and ``copy`` give plain, changeable copies.
    """

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: deepcopy(value, memo) for key, value in self.items()}

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A JSON array that cannot change; equal to the plain ``list`` of the same elements.

    ``copy.deepcopy`` and ``copy`` give plain, changeable copies.
    """

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = _refuse
    remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(value, memo) for value in self]

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> tuple[type, tuple[list[Any]]]:
        return FrozenList, (list(self),)


def snapshot(body: Mapping[str, Any]) -> FrozenDict:
    """Copy ``body`` into an immutable JSON object.

    Subclasses of str, int, float, list, tuple and mappings are taken as the plain JSON value
    that they hold; a tuple is an array. A snapshot is returned as it is.

    Raises:
        InvalidEvent: something in it is no JSON value; ``path`` says where.
    """
    if type(body) is FrozenDict:
        return body
    try:
        return _copy_object(body, MAX_DEPTH)
    except _NotJsonError as fault:
        raise InvalidEvent(fault.reason, join_path("body", *reversed(fault.steps))) from None


class _NotJsonError(Exception):
    """Collects the steps to the fault while the walk unwinds: a good body pays nothing for it."""

    def __init__(self, reason: str, *steps: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str | int] = list(steps)


def _copy_object(source: Mapping[str, Any], depth: int) -> FrozenDict:
    if not depth:
        raise _NotJsonError(f"nested deeper than {MAX_DEPTH}, or in a cycle")
    # Strings are most of what bodies hold. They are checked in place and copied by the dict
    # itself, in C; only other values are looked at one by one.
    copied = FrozenDict(source)
    replace = dict.__setitem__
    for key, value in source.items():
        if type(key) is not str or not key.isascii():
            _check_key(key, copied)
        if type(value) is str:
            if not value.isascii():
                _check_text(value, key)
        elif value is None or value is True or value is False:
            pass
        else:
            try:
                clean = _copy_value(value, depth)
            except _NotJsonError as fault:
                fault.steps.append(key)
                raise
            if clean is not value:
                replace(copied, key, clean)
    return copied


def _copy_value(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        raise _NotJsonError("an integer outside -2**63 ... 2**64-1; send it as text")
    if kind is float:
        if isfinite(value):
            return value
        raise _NotJsonError(f"{value} is no JSON number; send null or text")
    if kind is dict or kind is FrozenDict:
        return _copy_object(value, depth - 1)
    if kind is list or kind is tuple:
        return _copy_array(value, depth - 1)
    return _copy_uncommon(value, depth)


def _copy_array(source: list[Any] | tuple[Any, ...], depth: int) -> FrozenList:
    if not depth:
        raise _NotJsonError(f"nested deeper than {MAX_DEPTH}, or in a cycle")
    copied = []
    for value in source:
        if type(value) is str and value.isascii():
            copied.append(value)
            continue
        try:
            copied.append(_copy_value(value, depth))
        except _NotJsonError as fault:
            fault.steps.append(len(copied))
            raise
    return FrozenList(copied)


def _copy_uncommon(value: Any, depth: int) -> Any:
    """Copy what the fast branches left: literals, text beyond ASCII, and subclasses."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        plain = str.__str__(value)
        _check_text(plain)
        return plain
    if isinstance(value, int):
        return _copy_value(int.__int__(value), depth)
    if isinstance(value, float):
        return _copy_value(float.__float__(value), depth)
    if isinstance(value, Mapping):
        return _copy_object(dict(value), depth - 1)
    if isinstance(value, (list, tuple)):
        return _copy_array(list(value), depth - 1)
    kind = type(value).__name__
    raise _NotJsonError(f"a {kind} is no JSON value; send text, a number, a list or an object")


def _check_text(text: str, *steps: str | int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NotJsonError("text with a lone surrogate cannot be sent", *steps) from None


def _check_key(key: Any, copied: dict[Any, Any]) -> None:
    if not isinstance(key, str):
        raise _NotJsonError(f"a key must be a string, not {key!r}")
    plain = str.__str__(key)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise _NotJsonError(f"the key {plain!r} has a lone surrogate") from None
    if type(key) is not str:
        dict.__setitem__(copied, plain, dict.pop(copied, key))
