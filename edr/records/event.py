"""``Event``: what is emitted. A frozen model, of which pydantic checks every field."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from uuid_utils import uuid7

from edr.errors import InvalidEventError, shown
from edr.records.body import FrozenDict, no_object, snapshot
from edr.records.decoding import completed, decoded
from edr.records.levels import AnySeverity, AnyVerbosity, Severity, Verbosity
from edr.records.model import FrozenModel
from edr.records.traceparent import TRACEPARENT, is_traceparent

GREGORIAN_TO_UNIX = 62_167_219_200
"""Seconds from the year 0 of Erlang's calendar to 1970."""

_SET_BY_THE_BUS = ("id", "node", "timestamp")
"""Fields that have a default when an event is made, and that its sender must have set."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def new_id() -> str:
    """Return 32 lower-case hex digits of a UUIDv7: later ids of a process sort higher."""
    return uuid7().hex


def default_node() -> str:
    """Return ``host:pid`` of this process. Not cached, because a fork changes it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _now() -> datetime:
    return datetime.now(UTC)


def _only_text_or_datetime(value: object) -> object:
    # Pydantic would read 1700000000 as seconds or milliseconds, guessing by its size, and as text
    # too. In ISO 8601 text a hyphen follows the year.
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return value
    raise ValueError(f"must be ISO 8601 text or a datetime, got {value!r}")


def _aware_utc(value: datetime) -> datetime:
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("must have a UTC offset, got a naive timestamp")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999 in UTC") from None
    # Of a subclass (pandas and pendulum have some) the plain datetime: orjson takes no other.
    return utc if type(utc) is datetime else datetime.combine(utc.date(), utc.time(), UTC)


def _checked_body(value: object) -> FrozenDict:
    if isinstance(value, Mapping):
        return snapshot(value)
    raise no_object(value)


def _checked_traceparent(value: str) -> str:
    if not is_traceparent(value):
        raise ValueError(
            "traceparent must be a W3C trace context of version 00, such as "
            f"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, got {shown(value)}"
        )
    return value


def _is_none(value: object) -> bool:
    return value is None


# The slots of a pydantic instance; setting them is what its validator does.
_make = object.__new__
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__

Name = Annotated[str, Field(strict=True, min_length=1)]
Traceparent = Annotated[
    str,
    Field(strict=True),
    AfterValidator(_checked_traceparent),
    WithJsonSchema({"type": "string", "pattern": f"^{TRACEPARENT.pattern}$"}),
]
Timestamp = Annotated[datetime, BeforeValidator(_only_text_or_datetime), AfterValidator(_aware_utc)]
Body = Annotated[
    Mapping[str, Any],
    PlainValidator(_checked_body),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]


class Event(FrozenModel):
    """One event data record. The event and its body are immutable.

    Two events are equal when all their fields are; an event hashes by its ``id``.
    ``Event.from_json(event.to_json()) == event`` holds for every event, and so it does for
    ``model_validate_json`` and ``model_dump_json``.

    The body refuses every change by Python code. It is a ``dict`` of lists and dicts, so C code
    that bypasses their methods (such as ``heapq``) can still change it; do not do that.
    ``event.model_dump()["body"]`` is a plain copy that you may change. Also use it for functions
    that accept no subclass of ``dict``, such as ``yaml.safe_dump``.

    Raises:
        InvalidEventError: a field is missing, unknown or wrong; ``path`` says which.
    """

    _invalid: ClassVar = InvalidEventError

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
    traceparent: Traceparent | None = Field(
        None,
        description="the W3C trace context of its emit, if it was traced",
        exclude_if=_is_none,  # few events have one
    )

    if TYPE_CHECKING:
        # A signature derived from the fields would refuse severity="ok".
        def __init__(
            self,
            *,
            app_name: str,
            app_version: str,
            severity: AnySeverity,
            verbosity: AnyVerbosity,
            body: Mapping[str, Any],
            account_id: str | None = None,
            account_tree: Sequence[str] = (),
            id: str = ...,
            node: str = ...,
            timestamp: datetime | str = ...,
            traceparent: str | None = None,
            **fields: Any,  # those of a subclass
        ) -> None: ...

    @model_validator(mode="after")
    def _check_tree(self) -> Self:
        if self.account_id is not None and self.account_id in self.account_tree:
            raise InvalidEventError(
                f"{self.account_id!r} cannot be among its own ancestors", "account_tree"
            )
        return self

    def to_json(self) -> bytes:
        """Return the JSON of all fields as UTF-8. ``traceparent`` is left out if it is ``None``.

        The result is that of ``model_dump_json``, in a tenth of its time, without its options. A
        subclass may have fields that only pydantic can write, so there it takes as long.
        """
        if type(self) is not Event:
            return self.model_dump_json().encode()
        fields = self.__dict__
        if fields["traceparent"] is None:
            fields = fields.copy()
            del fields["traceparent"]
        return orjson.dumps(fields, option=orjson.OPT_UTC_Z)

    @classmethod
    def from_json(cls, document: str | bytes | bytearray) -> Self:
        """Read an event from JSON that came over a wire.

        ``id``, ``node`` and ``timestamp`` are required here. Two readers of one message must get
        the same event, and defaults would differ between them. Unknown fields are ignored, so
        that a sender can be newer than its readers; ``model_validate_json`` refuses them.

        Raises:
            InvalidEventError: the document is not a JSON object, or a field is missing or wrong;
                ``path`` names the field.
        """
        if cls is Event and (read := decoded(document)) is not None:
            return cast("Self", _filled(*read))
        event = cls.model_validate_json(document, extra="ignore")
        given = event.__pydantic_fields_set__
        for field in _SET_BY_THE_BUS:
            if field not in given:
                raise InvalidEventError("Field required of an event that was sent", field)
        return event

    @property
    def gregorian_time(self) -> int:
        """Whole seconds since the year 0, as Kazoo's wire has them."""
        return (self.timestamp - _UNIX_EPOCH) // _SECOND + GREGORIAN_TO_UNIX

    def __hash__(self) -> int:
        return hash(self.id)


def completed_event(document: dict[str, Any], node: str) -> Event:
    """Return the event of a JSON object whose sender may leave out ``id``, ``node``, ``timestamp``.

    Unknown fields are ignored.

    Args:
        document: the object as pydantic's ``from_json`` returned it. It is changed.
        node: the node, if it has none. The id and the timestamp are those of a new event then.

    Raises:
        InvalidEventError: a field is missing or wrong; ``path`` names the field.
    """
    if "id" not in document:
        document["id"] = new_id()
    document.setdefault("node", node)
    read = completed(document, _now())
    return Event.model_validate(document, extra="ignore") if read is None else _filled(*read)


def with_account_tree(event: Event, account_tree: tuple[str, ...]) -> Event:
    """Return a copy of ``event`` with ``account_tree``, which the caller has checked.

    ``model_copy`` checks all fields again, which takes ten times as long.
    """
    if type(event) is not Event:  # a subclass may have validators of its own
        return event.model_copy(update={"account_tree": account_tree})
    fields_set = {*event.__pydantic_fields_set__, "account_tree"}
    return _filled({**event.__dict__, "account_tree": account_tree}, fields_set)


def _filled(fields: dict[str, Any], fields_set: set[str]) -> Event:
    """Return an event with these fields, which are valid."""
    event = _make(Event)
    _set_fields(event, fields)
    _set_fields_set(event, fields_set)
    _set_extra(event, None)
    _set_private(event, None)
    return event
