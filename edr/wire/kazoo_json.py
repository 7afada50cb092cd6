"""The JSON that Kazoo's file and HTTP outputs write, for readers that were built for them.

It is not the AMQP payload: it has no envelope, and three shapes, by Kazoo's own options.

* ``include_metadata=False``: the body alone, as it is.
* ``normalize=False``: names in dashes (``Account-ID``), the body as it is.
* by default: names in lower case with underscores (``account_id``). Kazoo does that to the whole
  document, so keys within the body change too (``Caller-ID`` becomes ``caller_id``), and members
  that are null go, but for those in lists.

Switches turn off what surprises there: ``normalize_body`` the change of the body's keys,
``drop_nulls`` the loss of nulls. Two keys of a body that become the same are one; the last wins.
Only ASCII letters change. (Kazoo shifts bytes of other letters too, and crashes on the result.)
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
    normalize_body: bool = True,
    drop_nulls: bool = True,
) -> bytes:
    """Return the JSON of ``event``, in the order and the shape in which Kazoo writes it.

    Args:
        event: the event.
        include_metadata: all fields; else the body alone, to which no other option but ``pretty``
            applies.
        normalize: names in lower case with underscores; else in dashes.
        pretty: indented by two spaces, over several lines, each name followed by `` : ``.
        normalize_body: with ``normalize``, the keys within the body too.
        drop_nulls: with ``normalize_body``, leave out members of the body that are null.
    """
    document: Mapping[str, Any] = event.body
    if include_metadata:
        document = _with_metadata(event)
        if normalize:
            document = {name.translate(_NORMAL): value for name, value in document.items()}
            if normalize_body:
                document["body"] = _normalized(event.body, drop_nulls=drop_nulls)
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


def _normalized(value: Any, *, drop_nulls: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            key.translate(_NORMAL): _normalized(member, drop_nulls=drop_nulls)
            for key, member in value.items()
            if not (drop_nulls and member is None)
        }
    if isinstance(value, list):
        return [_normalized(element, drop_nulls=drop_nulls) for element in value]
    return value


def _pretty(value: Any, margin: str) -> str:
    """Indent as Kazoo's encoder does, which breaks the line in what is empty too."""
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
