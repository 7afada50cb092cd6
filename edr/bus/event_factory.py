"""``EventFactory``: how the bus makes an event from the arguments of emit.

Events are made in two ways, with equal results. From outside (``Event(...)``,
``Event.model_validate_json``) pydantic checks every field. ``emit`` checks the fields itself: those
of a factory once, account and body for each event. So ``EventFactory.create`` only fills the
instance. Validating again, or ``model_construct``, would cost more than the rest of an emit; see
``benchmarks/questions/event.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel
from uuid_utils import uuid7

from edr.errors import InvalidEventError
from edr.records import FIELDS_SET, Event, FrozenDict, Severity, Verbosity, snapshot, why_no_level

L = TypeVar("L", Severity, Verbosity)

EventKey: TypeAlias = tuple[Any, Any, Any, Any]
"""App name, app version, severity, verbosity; as they were given."""


# The slots of a pydantic instance, set directly: object.__setattr__ by name takes 1.5 times as
# long, and __setattr__ of the class raises (frozen).
_make = object.__new__
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


class EventFactory:
    """The fields that events of one app, version, severity and verbosity share, checked once.

    The number of factories is that of the places in the code that emit. The account is not a part
    of it, because there may be any number of accounts.
    """

    __slots__ = ("_fields", "_max_body", "app_name", "severity", "verbosity")

    def __init__(self, key: EventKey, node: str, max_body: int) -> None:
        """Check app, version, severity and verbosity as ``Event`` does.

        By hand, as a new key must not cost several times what matching it does.

        Raises:
            InvalidEventError: one is wrong.
        """
        app_name, app_version, severity, verbosity = key
        self._max_body = max_body
        self.app_name: str = _checked_name(app_name, "app_name")
        self.severity: Severity = _checked_level(severity, "severity", Severity, _SEVERITIES)
        self.verbosity: Verbosity = _checked_level(verbosity, "verbosity", Verbosity, _VERBOSITIES)
        self._fields: dict[str, Any] = {
            "account_id": None,
            "account_tree": (),
            "app_name": self.app_name,
            "app_version": _checked_name(app_version, "app_version"),
            "body": None,
            "id": None,
            "node": node,
            "severity": self.severity,
            "verbosity": self.verbosity,
            "timestamp": None,
            "traceparent": None,
        }

    def create(
        self,
        body: Mapping[str, Any],
        timestamp: datetime,
        account_id: str | None,
        account_tree: tuple[str, ...],
    ) -> Event:
        """Make an event with a new id, and a snapshot of ``body``.

        It is equal to a validated one in every respect; ``tests/bus/test_template.py`` checks it.

        Raises:
            InvalidEventError: a value in the body is not valid JSON.
            BodyTooLargeError: the body is larger than ``max_body``.
        """
        fields = self._fields.copy()
        fields["body"] = snapshot(body, self._max_body)
        fields["id"] = uuid7().hex
        fields["timestamp"] = timestamp
        if account_id is not None:
            fields["account_id"] = account_id
            fields["account_tree"] = account_tree
        event = _make(Event)
        _set_fields(event, fields)
        _set_fields_set(event, FIELDS_SET)
        _set_extra(event, None)
        _set_private(event, None)
        return event


CreateEvent: TypeAlias = Callable[[Mapping[str, Any], datetime, str | None, tuple[str, ...]], Event]
"""The type of ``EventFactory.create``."""


class PendingEvent(NamedTuple):
    """A checked event with its time stamp, whose account ancestors are not known yet."""

    key: EventKey
    account_id: str | None
    body: FrozenDict
    timestamp: datetime
    last_number: int | None
    """The last subscription that may see it; ``None`` for all that are there when it is put."""
    traceparent: str | None = None
    """The trace context of the emit."""


_SEVERITIES = {level.value: level for level in Severity}
_VERBOSITIES = {level.value: level for level in Verbosity}


def checked_account(account_id: object) -> str:
    """Return the id of an account as a plain ``str``.

    Raises:
        InvalidEventError: it is not a string, or empty, or has a lone surrogate.
    """
    return _checked_name(account_id, "account_id")


def _checked_name(value: object, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEventError(f"must be a non-empty string, got {value!r}", field)
    name = str.__str__(value)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidEventError(f"must not have a lone surrogate, got {name!r}", field) from None
    return name


def _checked_level(value: object, field: str, kind: type[L], levels: dict[str, L]) -> L:
    level = levels.get(value) if isinstance(value, str) else None
    if level is None:
        raise InvalidEventError(why_no_level(value, kind), field)
    return level
