"""``RefusedError``: the answer to a request that the gateway does not serve.

The body is ``{"error": {"code": …, "path": …, "detail": …}}``. Programs compare ``code``, and
people read ``detail``. No detail contains a token, a ticket or a cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from edr.errors import EdrError

STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "invalid_binding": 400,
    "invalid_event": 400,
    "token_in_url": 400,
    "not_authenticated": 401,
    "foreign_origin": 403,
    "not_permitted": 403,
    "grant_ended": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "gap": 410,
    "too_large": 413,
    "unknown_host": 421,
    "too_many_clients": 429,
    "headers_too_large": 431,
    "failed": 500,
    "authenticator_failed": 503,
    "stopping": 503,
    "bus_closed": 503,
    "journal_failed": 503,
}
"""The codes of refusals, and the HTTP status of each."""

RETRY_AFTER = 5
"""Seconds after which a client should try again, for a state that passes."""


class RefusedError(EdrError):
    """A request is not served.

    Args:
        code: a key of ``STATUS``.
        detail: the fault, and how to repair it.
        path: the place of the fault in the request, such as ``bindings[0].severity``.
        headers: further headers of the answer.
        more: further fields of ``error``.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        path: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, detail, path)
        self.code: str = code
        self.detail: str = detail
        self.path: str = path
        self.status: int = STATUS[code]
        self._more = dict(more or {})
        self.headers: dict[str, str] = dict(headers or {})
        if self.status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER))
        if self.status == 401:  # noqa: PLR2004
            self.headers.setdefault("WWW-Authenticate", "Bearer")

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail

    @property
    def error(self) -> dict[str, Any]:
        """The object ``error`` of the answer."""
        texts = {"code": self.code, "path": self.path, "detail": self.detail}
        # Text of a client may have a lone surrogate, which is not valid JSON.
        encodable = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
        return {**encodable, **self._more}

    def body(self) -> bytes:
        """Return the body of the answer, as JSON."""
        return orjson.dumps({"error": self.error})
