"""``Event``: what is emitted, and the stamping of a new one.

An event has two ways into life with one meaning. From outside (``Event(...)``,
``Event.model_validate_json``) pydantic checks every field. From ``emit`` the fields were
checked one by one on the way (the route remembers which names and levels are good, the body is
a checked snapshot), so ``Template.stamp`` only fills the instance. Validating there again, or
``model_construct``, would each cost more than all the rest of an emit; see
``benchmarks/bench_event.py``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from uuid_utils import uuid7

from edr.errors import InvalidEvent, kind_of
from edr.records.body import FrozenDict, snapshot
from edr.records.levels import Severity, Verbosity
from edr.records.model import FrozenModel

L = TypeVar("L", Severity, Verbosity)

GREGORIAN_TO_UNIX = 62_167_219_200
"""Seconds from the year 0 of Erlang's calendar to 1970."""


def new_id() -> str:
    """Return 32 lower-case hex digits of a UUIDv7: later ids of a process sort higher."""
    return uuid7().hex


def default_node() -> str:
    """Return ``host:pid`` of this process, read anew because a fork changes it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _now() -> datetime:
    return datetime.now(UTC)


def _only_text_or_datetime(value: object) -> object:
    # Pydantic would read 1700000000 as seconds or milliseconds, guessing by its size.
    if isinstance(value, (str, datetime)):
        return value
    raise ValueError("a timestamp is ISO 8601 text or a datetime")


def _aware_utc(value: datetime) -> datetime:
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("a timestamp needs a UTC offset; this one is naive")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a timestamp must be within the years 1 to 9999 in UTC") from None


def _checked_body(value: object) -> FrozenDict:
    if isinstance(value, Mapping):
        return snapshot(value)
    raise InvalidEvent(f"a body is a JSON object, not {kind_of(value)}", "body")


Name = Annotated[str, Field(strict=True, min_length=1)]
Timestamp = Annotated[datetime, BeforeValidator(_only_text_or_datetime), AfterValidator(_aware_utc)]
Body = Annotated[
    Mapping[str, Any],
    PlainValidator(_checked_body),
    PlainSerializer(dict, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]


class Event(FrozenModel):
    """One event data record. It never changes, and neither does its body.

    Two events are equal when all their fields are; an event hashes by its ``id``.
    ``Event.model_validate_json(event.model_dump_json()) == event`` holds for every event.

    Raises:
        InvalidEvent: a field is missing, unknown or wrong; ``path`` says which.
    """

    _invalid: ClassVar = InvalidEvent

    account_id: Name | None = Field(None, description="the account it belongs to, if any")
    account_tree: tuple[Name, ...] = Field(
        (), description="the account's ancestors, root first, direct parent last"
    )
    app_name: Name = Field(description="the service that emitted it")
    app_version: Name
    body: Body = Field(description="everything particular to this event")
    id: Name = Field(default_factory=new_id, description="made as a UUIDv7 in hex")
    node: Name = Field(default_factory=default_node, description="the process it came from")
    severity: Severity
    verbosity: Verbosity
    timestamp: Timestamp = Field(default_factory=_now, description="when it was emitted, in UTC")

    if TYPE_CHECKING:
        # What a type checker would make of the fields above refuses severity="ok".
        def __init__(
            self,
            *,
            app_name: str,
            app_version: str,
            severity: Severity | str,
            verbosity: Verbosity | str,
            body: Mapping[str, Any],
            account_id: str | None = None,
            account_tree: Sequence[str] = (),
            id: str = ...,
            node: str = ...,
            timestamp: datetime | str = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _check_tree(self) -> Self:
        if self.account_id is not None and self.account_id in self.account_tree:
            raise InvalidEvent(
                f"{self.account_id!r} cannot be among its own ancestors", "account_tree"
            )
        return self

    @property
    def gregorian_time(self) -> int:
        """Whole seconds since the year 0, as Kazoo's wire has them."""
        return int(self.timestamp.timestamp()) + GREGORIAN_TO_UNIX

    def __hash__(self) -> int:
        return hash(self.id)


_FIELDS = set(Event.model_fields)
# The slots of a pydantic instance, set directly: object.__setattr__ by name takes half as long
# again, and the class's own __setattr__ refuses (frozen).
_make = object.__new__
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


class Template:
    """The fields that the events of one route share, checked; ``stamp`` makes one of them."""

    __slots__ = ("_fields", "account_id", "account_tree", "app_name", "severity", "verbosity")

    def __init__(self, key: tuple[Any, Any, Any, Any, Any, tuple[str, ...]], node: str) -> None:
        """Check app, version, severity, verbosity, account and the tree above as ``Event`` does.

        By hand, as a new key must not cost several times what matching it does.

        Raises:
            InvalidEvent: one is wrong.
        """
        app_name, app_version, severity, verbosity, account_id, account_tree = key
        self.app_name = _name(app_name, "app_name")
        self.severity = _level(severity, "severity", _SEVERITIES)
        self.verbosity = _level(verbosity, "verbosity", _VERBOSITIES)
        self.account_id = None if account_id is None else _name(account_id, "account_id")
        self.account_tree = account_tree
        self._fields: dict[str, Any] = {
            "account_id": self.account_id,
            "account_tree": account_tree,
            "app_name": self.app_name,
            "app_version": _name(app_version, "app_version"),
            "body": None,
            "id": None,
            "node": node,
            "severity": self.severity,
            "verbosity": self.verbosity,
            "timestamp": None,
        }

    def stamp(self, body: FrozenDict, timestamp: datetime) -> Event:
        """Make an event with a new id.

        It is indistinguishable from a validated one; ``tests/test_event.py`` holds it to that.
        """
        fields = self._fields.copy()
        fields["body"] = body
        fields["id"] = uuid7().hex
        fields["timestamp"] = timestamp
        event = _make(Event)
        _set_fields(event, fields)
        _set_fields_set(event, _FIELDS)
        _set_extra(event, None)
        _set_private(event, None)
        return event


_SEVERITIES = {level.value: level for level in Severity}
_VERBOSITIES = {level.value: level for level in Verbosity}


def _name(value: object, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"a name is text and not empty, not {value!r}", field)
    name = str.__str__(value)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(f"{name!r} has a lone surrogate", field) from None
    return name


def _level(value: object, field: str, levels: dict[str, L]) -> L:
    level = levels.get(value) if isinstance(value, str) else None
    if level is None:
        raise InvalidEvent(f"{value!r} is none of {', '.join(levels)}", field)
    return level
