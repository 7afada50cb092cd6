"""The replies to requests, byte for byte as Kazoo writes them.

Texts of errors are Kazoo's too, with one exception: Kazoo's ``failed to authenticate token T``
contains the token, and here the token is left out. Monster UI compares only the part before it: it
logs in again after that error, and after no other. Texts for faults that Kazoo answers with a
success, or with a crash, are edr's own. No text repeats a value of the request, so none contains a
token that a client has sent in a wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from edr.errors import EdrError
from edr.records import Severity, Verbosity

TOKEN_REQUIRED = "authentication token required"  # noqa: S105 - the text of an error
TOKEN_NOT_VALID = "failed to authenticate token"  # noqa: S105 - Kazoo appends the token
NO_DATA = "missing required keys in data object"
MISSING_KEYS = "missing required keys : "
SEVERITIES = "severity must be one of: " + ", ".join(Severity)
VERBOSITIES = "verbosity must be one of: " + ", ".join(Verbosity)
BINDING_FORMAT = "subscription should be in format: edr.severity.verbosity.app_name"
FOREIGN_ACCOUNT = "unauthorized account id"
WILDCARD_ACCOUNT = "unauthorized wildcard account id"
NO_SUCH_FAMILY = "no available subscriptions to requested binding"

# edr's own. Kazoo answers these requests with the data of its previous reply, or not at all.
NOT_TEXT = "a frame must be text"
NOT_AN_OBJECT = "a frame must be a JSON object"
ACTIONS = "action must be one of: subscribe, unsubscribe, ping"
NOT_SUBSCRIBED = "not subscribed to requested binding"
OTHER_ACCOUNT = "the token must be of the account of this connection"
AUTHENTICATOR_FAILED = "tokens cannot be checked now, try again later"


class RequestError(EdrError):
    """A request is answered with an error. Its text is sent to the client."""


def rate_limit_hit(peer: str) -> str:
    """Return the error of a client that sends too many frames.

    Args:
        peer: its own address and port.
    """
    return f"rate limiting threshold hit for {peer}!"


def success(request_id: str | int, data: Mapping[str, Any]) -> str:
    """Return the reply to a request that succeeded."""
    return _reply(request_id, "success", data)


def failure(request_id: str | int, error: str) -> str:
    """Return the reply to a request that failed."""
    return _reply(request_id, "error", {"errors": [error]})


def _reply(request_id: str | int, status: str, data: Mapping[str, Any]) -> str:
    reply = {"action": "reply", "request_id": request_id, "status": status, "data": data}
    return orjson.dumps(reply).decode()
