"""One line of ``key=value`` pairs, for tools that search logs.

``time=… severity=ok verbosity=info app=acdc version=5.1 account=a1 node=… id=… body.queue=q7``

The body's members follow as ``body.<key>``, those of nested objects as ``body.<key>.<key>``. A list
and an empty object are JSON text. A value that is not one plain word is a JSON string in double
quotes. Keys cannot be quoted in logfmt, so spaces, ``=``, quotes, control characters and ``%`` are
percent-encoded in them. So an event cannot add a line, or a pair outside ``body.``.

``traceparent`` follows the id, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edr.records import Event
from edr.wire.escaping import UNSAFE
from edr.wire.text import json_text, name_text

CONTENT_TYPE = "text/plain; charset=utf-8"

_not_in_keys = re.compile(rf'[\s"=%{UNSAFE}]')


def encode(event: Event) -> bytes:
    """Return ``event`` as a line of UTF-8, without the line feed."""
    time = event.timestamp.isoformat(timespec="microseconds").removesuffix("+00:00")
    pairs = [
        f"time={time}Z",
        f"severity={event.severity}",
        f"verbosity={event.verbosity}",
        f"app={name_text(event.app_name)}",
        f"version={name_text(event.app_version)}",
    ]
    if event.account_id is not None:
        pairs.append(f"account={name_text(event.account_id)}")
    pairs += [f"node={name_text(event.node)}", f"id={name_text(event.id)}"]
    if event.traceparent is not None:
        pairs.append(f"traceparent={event.traceparent}")
    pairs += _pairs_of("body", event.body)
    return " ".join(pairs).encode()


def _pairs_of(prefix: str, members: Mapping[str, Any]) -> Iterator[str]:
    for key, value in members.items():
        path = f"{prefix}.{_not_in_keys.sub(_percent, key)}"
        if isinstance(value, Mapping) and value:
            yield from _pairs_of(path, value)
        elif isinstance(value, str):
            yield f"{path}={name_text(value)}"
        elif isinstance(value, (list, dict)):
            yield f"{path}={json_text(json_text(value))}"
        else:
            yield f"{path}={json_text(value)}"


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())
