"""What is sent: bodies of three sizes, an event, and the plain model that peers are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from uuid_utils import uuid7

import edr

APP = "callflow"
VERSION = "5.1"

SMALL_BODY: dict[str, Any] = {"call_id": "a1", "status": "answered"}

BODY: dict[str, Any] = {
    "call_id": "b2f1c0de-7a11@pbx-3.example.com",
    "direction": "inbound",
    "status": "answered",
    "from": {"number": "+4930901820", "name": "Ada"},
    "to": {"number": "+4940555012", "name": None},
    "duration": 31,
    "ringing": 4.25,
    "recorded": False,
    "legs": ["a", "b"],
}
"""A call, as a telephony service tells of it: 13 values, two objects and an array in it."""

LARGE_BODY: dict[str, Any] = {
    **BODY,
    "history": [
        {"at": 1_700_000_000 + i, "state": "ringing", "agent": f"agent-{i}", "wait": i / 8}
        for i in range(30)
    ],
}
"""Some 2 KB of JSON."""

FIELDS: dict[str, Any] = {
    "app_name": APP,
    "app_version": VERSION,
    "severity": "ok",
    "verbosity": "info",
    "node": "pbx-3:4711",
}


def new_id() -> str:
    return uuid7().hex


def now() -> datetime:
    return datetime.now(UTC)


class PlainEvent(BaseModel):
    """The same fields, frozen and checked, with the same id and time: what one writes by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account_id: str | None = None
    account_tree: tuple[str, ...] = ()
    app_name: str = Field(min_length=1)
    app_version: str = Field(min_length=1)
    body: dict[str, JsonValue]
    id: str = Field(default_factory=new_id, min_length=1)
    node: str
    severity: edr.Severity
    verbosity: edr.Verbosity
    timestamp: AwareDatetime = Field(default_factory=now)


def event_of(app_name: str = APP) -> edr.Event:
    """Return an event that exists already."""
    return edr.Event(**{**FIELDS, "app_name": app_name}, body=BODY)


def plain_of(body: dict[str, Any]) -> PlainEvent:
    """Build and check the plain model."""
    return PlainEvent(
        app_name=APP,
        app_version=VERSION,
        severity="ok",
        verbosity="info",
        node="pbx-3:4711",
        body=body,
    )


Message = tuple[str, Any]
"""A topic, and what is sent on it."""

Messages = Callable[[int], Iterable[Message]]
"""Makes so many of them."""


def built(n: int) -> Iterable[Message]:
    """Make messages of plain models, each built and checked when its turn comes."""
    return zip(repeat(APP), map(plain_of, repeat(BODY, n)), strict=False)
