"""The checked, immutable snapshot of an event's body.

The emitter keeps its own object, and one event goes to many subscribers. So the body is
copied and checked once, at emit, into containers that refuse to change: no subscriber can
alter what another sees, and no sink meets a value that is not JSON.

They are subclasses of ``dict`` and ``list`` whose methods refuse. Code in C that goes past the
methods is not stopped: ``heapq.heappush(event.body["list"], 1)`` changes the event for all.

Rejected: a copy for each subscriber (a hundred copies in a fan-out of a hundred); a JSON round
trip (orjson writes NaN as null and a UUID as text, and what it loads could be changed); a read-only
proxy (not a ``dict``: neither ``json`` nor ``orjson`` nor ``isinstance`` would take it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from math import isfinite
from typing import Any, Never, TypeAlias

import orjson

from edr._util.text import is_encodable
from edr.errors import BodyTooLargeError, InvalidEventError, join_path, kind_of

MAX_DEPTH = 128
"""Containers in containers, the body itself being the first. JSON readers commonly stop
between 100 and 1,000; Python's own recursion limit is 1,000 frames."""

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""The range of 64 bits, signed or unsigned: the widest on which JSON readers agree."""


def _refuse(_self: object, *_args: object, **_kwargs: object) -> Never:
    raise TypeError("the body of an event is immutable; change a copy: copy.deepcopy(event.body)")


# ``__init__`` fills an instance, so it must refuse too: a second call would change a body. A frozen
# container is therefore filled as an instance of these, and then becomes one of the frozen class.


_Reduced: TypeAlias = tuple[Callable[[Any], Any], tuple[Any]]


class _Object(dict[str, Any]):
    __slots__ = ("json_size",)
    json_size: int


class _Array(list[Any]):
    __slots__ = ()


class FrozenDict(_Object):
    """A JSON object that cannot change; equal to the plain ``dict`` of the same items.

    ``snapshot`` makes them. ``copy.deepcopy`` and ``copy`` give plain, changeable copies.

    Attributes:
        json_size: Length of its JSON in bytes. Unset until it is known; ``json_size`` returns it.
    """

    __slots__ = ()
    __init__: Any = _refuse
    __setitem__: Any = _refuse
    __delitem__: Any = _refuse
    __ior__: Any = _refuse
    clear: Any = _refuse
    pop: Any = _refuse
    popitem: Any = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: deepcopy(value, memo) for key, value in self.items()}

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> _Reduced:
        return frozen_dict, (dict(self),)


class FrozenList(_Array):
    """A JSON array that cannot change; equal to the plain ``list`` of the same elements.

    ``copy.deepcopy`` and ``copy`` give plain, changeable copies: make one before you give it to
    ``heapq`` or other code in C, which does not ask the methods that refuse.
    """

    __slots__ = ()
    __init__: Any = _refuse
    __setitem__: Any = _refuse
    __delitem__: Any = _refuse
    __iadd__: Any = _refuse
    __imul__: Any = _refuse
    append: Any = _refuse
    clear: Any = _refuse
    extend: Any = _refuse
    insert: Any = _refuse
    pop: Any = _refuse
    remove: Any = _refuse
    reverse: Any = _refuse
    sort: Any = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(value, memo) for value in self]

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> _Reduced:
        return frozen_list, (list(self),)


def frozen_dict(source: Mapping[str, Any]) -> FrozenDict:
    """Return a frozen copy of ``source``, which holds only frozen containers and scalars."""
    copied: Any = _Object(source)
    copied.__class__ = FrozenDict
    return copied  # type: ignore[no-any-return]  # a cast is a call, for each event of a journal


def frozen_list(source: Iterable[Any]) -> FrozenList:
    """Return a frozen copy of ``source``, which holds only frozen containers and scalars."""
    copied: Any = _Array(source)
    copied.__class__ = FrozenList
    return copied  # type: ignore[no-any-return]  # as above


def snapshot(body: Mapping[str, Any], max_size: int | None = None) -> FrozenDict:
    """Copy ``body`` into an immutable JSON object.

    Subclasses of str, int, float, list, tuple and mappings are taken as the plain JSON value
    that they hold; a tuple is an array. A snapshot is returned as it is.

    Args:
        body: The object to copy.
        max_size: The largest length of its JSON in bytes; None for no limit.

    Raises:
        InvalidEventError: Something in it is not JSON; ``path`` says where.
        BodyTooLargeError: Its JSON is longer than ``max_size``.
    """
    if type(body) is dict:  # items() of a subclass may not be what C code copies
        try:
            # orjson refuses bad keys, lone surrogates, integers beyond 64 bits, and most types
            # that are not JSON, in a twentieth of the time of a check in Python. The copy refuses
            # values that orjson accepts and edr does not: NaN, datetimes, enums, depth.
            size = len(_dumps(body))
            if max_size is not None and size > max_size:
                check_size(size, max_size)
            copied: FrozenDict = _copy_plain_object(body, MAX_DEPTH)
        except TypeError:
            pass
        else:
            copied.json_size = size
            return copied
    elif type(body) is FrozenDict:
        frozen: FrozenDict = body  # type: ignore[assignment]  # mypy takes dict out of its bases
        if max_size is not None:
            check_size(json_size(frozen), max_size)
        return frozen
    if not issubclass(type(body), Mapping):  # a mock may say that it is one
        raise no_object(body)
    try:
        copied = _copy_object(body, MAX_DEPTH)
    except _NotJsonError as fault:
        raise InvalidEventError(fault.reason, join_path("body", *reversed(fault.steps))) from None
    if max_size is not None:
        check_size(json_size(copied), max_size)
    return copied


def json_size(body: FrozenDict) -> int:
    """Return the length of a snapshot's JSON in bytes; it is measured once."""
    try:
        return body.json_size
    except AttributeError:  # unpickled, or part of another body
        body.json_size = len(_dumps(body))
        return body.json_size


def check_size(size: int, max_size: int) -> None:
    """Refuse a body whose JSON is too long.

    Raises:
        BodyTooLargeError: It has more than ``max_size`` bytes.
    """
    if size > max_size:
        raise BodyTooLargeError(
            f"must be at most {max_size:,} bytes of JSON, got {size:,}; store large data elsewhere "
            "and emit a reference to it, or raise Bus(max_body=…)",
            "body",
        )


# The common case: all that is in the body is of a plain type, and orjson has seen the rest. A
# TypeError sends the body to the careful walk.

_SCALARS: frozenset[type] = frozenset({str, int, bool, type(None)})
_ARRAYS: frozenset[type] = frozenset({list, tuple, FrozenList})


def _copy_plain_object(source: dict[str, Any], depth: int) -> Any:
    if not depth:
        raise TypeError
    copied: Any = _Object(source)  # scalars are copied by this, in C; most objects hold no other
    for value in copied.values():
        if type(value) not in _SCALARS and not (type(value) is float and isfinite(value)):
            break
    else:
        copied.__class__ = FrozenDict
        return copied
    for key, value in copied.items():
        kind = type(value)
        if kind in _SCALARS or (kind is float and isfinite(value)):
            continue
        if kind is dict:
            copied[key] = _copy_plain_object(value, depth - 1)
        else:
            copied[key] = _copy_plain_other(value, kind, depth - 1)
    copied.__class__ = FrozenDict
    return copied


def _copy_plain_other(source: Any, kind: type, depth: int) -> Any:
    if kind is FrozenDict:
        return _copy_plain_object(source, depth)
    if not depth or kind not in _ARRAYS:
        raise TypeError
    copied: Any = _Array(source)
    for value in copied:
        if type(value) not in _SCALARS and not (type(value) is float and isfinite(value)):
            break
    else:
        copied.__class__ = FrozenList
        return copied
    for index, value in enumerate(copied):
        kind = type(value)
        if kind in _SCALARS or (kind is float and isfinite(value)):
            continue
        if kind is dict:
            copied[index] = _copy_plain_object(value, depth - 1)
        else:
            copied[index] = _copy_plain_other(value, kind, depth - 1)
    copied.__class__ = FrozenList
    return copied


_dumps = orjson.dumps


# The careful walk: takes whatever holds a JSON value, and says where one does not.


def _copy_object(source: Mapping[str, Any], depth: int) -> FrozenDict:
    if not depth:
        raise _NotJsonError(f"nested deeper than {MAX_DEPTH}, or in a cycle")
    copied = {}
    for key, value in source.items():
        plain = _copy_key(key)
        try:
            copied[plain] = _copy_value(value, depth)
        except _NotJsonError as fault:
            fault.steps.append(plain)
            raise
    return frozen_dict(copied)


def _copy_array(source: Sequence[Any], depth: int) -> FrozenList:
    if not depth:
        raise _NotJsonError(f"nested deeper than {MAX_DEPTH}, or in a cycle")
    copied: list[Any] = []
    for value in source:
        try:
            copied.append(_copy_value(value, depth))
        except _NotJsonError as fault:
            fault.steps.append(len(copied))
            raise
    return frozen_list(copied)


def _copy_value(value: Any, depth: int) -> Any:
    # By the type, not by isinstance: a mock's __class__ says what it stands for.
    kind = type(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, str):
        return _copy_text(value)
    if issubclass(kind, int):
        number = int.__int__(value)
        if INT_MIN <= number <= INT_MAX:
            return number
        raise _NotJsonError("an integer outside -2**63 ... 2**64-1; send it as text")
    if issubclass(kind, float):
        real = float.__float__(value)
        if isfinite(real):
            return real
        raise _NotJsonError(f"{real} is not a JSON number; send null or text")
    if issubclass(kind, Mapping):
        return _copy_object(value, depth - 1)
    if issubclass(kind, (list, tuple)):
        return _copy_array(value, depth - 1)
    way_out = _way_out(value, _WAYS_OUT) or "send text, a number, a list or an object"
    raise _NotJsonError(f"{kind_of(value)} is not a JSON value; {way_out}")


def _copy_text(text: str) -> str:
    plain = str.__str__(text)
    if not is_encodable(plain):
        raise _NotJsonError("must be encodable as UTF-8, got a string with a lone surrogate")
    return plain


def _copy_key(key: Any) -> str:
    if not issubclass(type(key), str):
        raise _NotJsonError(f"a key must be a string, got {key!r}")
    try:
        return _copy_text(key)
    except _NotJsonError:
        raise _NotJsonError(f"the key {key!r} has a lone surrogate") from None


class _NotJsonError(Exception):
    """Collects the steps to the fault while the walk unwinds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str | int] = []


# The way out of what is refused. A value is known by what its type can do, so that no package
# is imported that it may come from.

_WAYS_TO_AN_OBJECT = {
    "model_dump": 'send its model_dump(mode="json")',
    "__dataclass_fields__": "send dataclasses.asdict of it",
    "_asdict": "send its _asdict()",
}
_WAYS_OUT = {
    **_WAYS_TO_AN_OBJECT,
    "isoformat": "send its isoformat()",
    "total_seconds": "send its total_seconds()",
    "_member_map_": "send its value",
    "as_tuple": "send it as text, with str, or as a float",
    "urn": "send it as text, with str",
    "__fspath__": "send it as text, with str",
    "with_traceback": "send it as text, with str or repr",
    "decode": "send it as text: decode it, or take its hex()",
    "__dlpack__": "send its tolist()",
    "item": "send its item()",
    "__iter__": "send a list of what is in it",
}


def no_object(body: object) -> InvalidEventError:
    """Return the error of a body that is not an object, with a way to convert it."""
    reason = f"must be a JSON object, got {kind_of(body)}"
    way_out = _way_out(body, _WAYS_TO_AN_OBJECT)
    return InvalidEventError(f"{reason}; {way_out}" if way_out else reason, "body")


def _way_out(value: object, ways: Mapping[str, str]) -> str | None:
    return next((way for name, way in ways.items() if hasattr(type(value), name)), None)
