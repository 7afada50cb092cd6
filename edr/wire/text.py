r"""One line for people.

``2026-01-31T12:00:00.250000Z ok info acdc 5.1 account=a1 node=apps1:77 id=01… {"queue":"q7"}``

Time, severity, verbosity, app and version come first. The account follows, if there is one, then
the node and the id. The body is last, as JSON. ``traceparent`` is not written. A name that is empty
or has a space, a quote, an equals sign, a backslash or a brace is written as a JSON string. So a
line can be split into its parts, and an event cannot add a line or a part.
"""

from __future__ import annotations

import re

import orjson

from edr.records import Event
from edr.wire.escaping import UNSAFE, one_line

CONTENT_TYPE = "text/plain; charset=utf-8"

_bare = re.compile(rf'[^\s"\\={{}}{UNSAFE}]+')


def encode(event: Event) -> bytes:
    """Return ``event`` as a line of UTF-8, without the line feed."""
    account = "" if event.account_id is None else f" account={name_text(event.account_id)}"
    time = event.timestamp.isoformat(timespec="microseconds").removesuffix("+00:00")
    return (
        f"{time}Z {event.severity} {event.verbosity}"
        f" {name_text(event.app_name)} {name_text(event.app_version)}{account}"
        f" node={name_text(event.node)} id={name_text(event.id)}"
        f" {json_text(event.body)}"
    ).encode()


def name_text(name: str) -> str:
    """Return ``name`` unchanged if it is one plain word, else as a JSON string."""
    return name if _bare.fullmatch(name) else json_text(name)


def json_text(value: object) -> str:
    """Return the JSON of ``value``, without unsafe characters."""
    return one_line(orjson.dumps(value).decode())
