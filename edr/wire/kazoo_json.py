"""The JSON that Kazoo's file and HTTP outputs write, for readers of these.

It differs from the AMQP payload: it has no envelope. It has three shapes, as Kazoo's options have:

* ``include_metadata=False``: the body alone, unchanged.
* ``normalize=False``: names with dashes (``Account-ID``), the body unchanged.
* by default: names in lower case with underscores (``account_id``). Kazoo does that to the whole
  document: ``Caller-ID`` in the body becomes ``caller_id``, and null members are left out, except
  in lists. If two keys of the body become the same, the last one wins.

Only ASCII letters change. (Kazoo changes bytes of other letters too, and crashes on the result.)
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import orjson

from edr.records import Event
from edr.wire.kazoo import WHOLE_SECONDS

CONTENT_TYPE = "application/json"

_NORMAL = str.maketrans(ascii_uppercase + "-", ascii_lowercase + "_")


def encode(
    event: Event,
    *,
    include_metadata: bool = True,
    normalize: bool = True,
    pretty: bool = False,
) -> bytes:
    """Return the JSON of ``event`` as Kazoo writes it, with the members in Kazoo's order.

    Args:
        event: The event.
        include_metadata: Write all fields; ``False`` writes the body alone.
        normalize: Write names in lower case with underscores; ``False`` writes them with dashes.
        pretty: Indent by two spaces, over several lines, with `` : `` after each name.
    """
    document: Mapping[str, Any] = event.body
    if include_metadata:
        document = _with_metadata(event)
        if normalize:
            document = {name.translate(_NORMAL): value for name, value in document.items()}
            document["body"] = normalized(event.body)
    if pretty:
        return _pretty(document, "").encode()
    return orjson.dumps(document, option=WHOLE_SECONDS)


def _with_metadata(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if event.account_id is not None:
        document["Account-ID"] = event.account_id
    if event.account_id is not None or event.account_tree:
        document["Account-Tree"] = event.account_tree
    document["App-Name"] = event.app_name
    document["App-Version"] = event.app_version
    document["Body"] = event.body
    document["ID"] = event.id
    document["Node"] = event.node
    document["Severity"] = event.severity
    document["Timestamp"] = event.timestamp
    document["Gregorian-Time"] = event.gregorian_time
    document["Verbosity"] = event.verbosity
    return document


def normalized(value: Any) -> Any:
    """Return the JSON value with all names in lower case and without null members."""
    if isinstance(value, Mapping):
        return {
            key.translate(_NORMAL): normalized(member)
            for key, member in value.items()
            if member is not None
        }
    if isinstance(value, list):
        return [normalized(element) for element in value]
    return value


def _pretty(value: Any, margin: str) -> str:
    """Indent as Kazoo's encoder does, which breaks the line within empty containers too."""
    inner = margin + "  "
    if isinstance(value, Mapping):
        items = [f"{_scalar(name)} : {_pretty(each, inner)}" for name, each in value.items()]
        opening, closing = "{}"
    elif isinstance(value, (list, tuple)):
        items = [_pretty(each, inner) for each in value]
        opening, closing = "[]"
    else:
        return _scalar(value)
    lines = f",\n{inner}".join(items)
    return f"{opening}\n{inner}{lines}\n{margin}{closing}"


def _scalar(value: Any) -> str:
    return orjson.dumps(value, option=WHOLE_SECONDS).decode()
