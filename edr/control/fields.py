"""``Fields``: reads and checks the fields of a request. A fault names the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edr.control.connection import RequestError
from edr.errors import InvalidBindingError, did_you_mean, join_path, kind_of
from edr.patterns import Limits
from edr.records import Binding, bindings_from_json

LIMITS = replace(
    Limits.untrusted(), max_names=10_000, max_bindings=256, max_elements=10_000, max_cost=16
)
"""Of the bindings of observers. They belong to the user of the process. But a match runs within
each emit, so a pattern that makes every emit slow is refused. Long lists of names and values do
not."""

MAX_NAMES = 10_000
"""App names times account ids, of all bindings of a request. To join with them takes 60 ms."""

_COMMON = frozenset({"id", "do"})


class Fields:
    """The fields of one request.

    Args:
        request: the request.
        known: the names of its fields, without ``id`` and ``do``.

    Raises:
        RequestError: it has an unknown field.
    """

    def __init__(self, request: Mapping[str, Any], *known: str) -> None:
        self._request = request
        for name in request:
            if name not in known and name not in _COMMON:
                raise RequestError(
                    "invalid_request",
                    f"{request['do']} has no such field{did_you_mean(name, known)}",
                    join_path(name),
                )

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
        return value

    def number(self, name: str, default: int | None, least: int, most: int) -> int | None:
        """Return a whole number of these limits."""
        value = self._get(name, default)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _wrong(name, f"a whole number from {least:,} to {most:,}", value)
        return value

    def seconds(self, name: str, default: float, least: float, most: float) -> float:
        """Return a number of seconds of these limits."""
        value = self._get(name, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise _wrong(name, f"a number of seconds from {least:g} to {most:g}", value)
        return float(value)

    def text(self, name: str) -> str | None:
        """Return a text that is not empty."""
        value = self._get(name, None)
        if value is not None and (not isinstance(value, str) or not value):
            raise _wrong(name, "a text that is not empty", value)
        return value

    def required_text(self, name: str) -> str:
        """Return a text that is not empty and not missing."""
        value = self.text(name)
        if value is None:
            raise RequestError("invalid_request", "the field is required", name)
        return value

    def object(self, name: str) -> Mapping[str, Any] | None:
        """Return an object."""
        value = self._get(name, None)
        if value is not None and not isinstance(value, dict):
            raise _wrong(name, "an object", value)
        return value

    def bindings(self, name: str = "bindings", limits: Limits = LIMITS) -> tuple[Binding, ...]:
        """Return the bindings of an array, or of one object; none if the field is missing."""
        value = self._get(name, None)
        if value is None:
            return ()
        documents = [value] if isinstance(value, dict) else value
        if not isinstance(documents, list):
            raise _wrong(name, "an array of objects", value)
        try:
            read = bindings_from_json(documents, limits=limits)
        except InvalidBindingError as exc:
            path = exc.path if isinstance(value, list) else exc.path.removeprefix("[0]")
            raise RequestError("invalid_binding", exc.reason, f"{name}{path}") from None
        assert isinstance(read, list)
        names = sum(len(each.app_names) * len(each.account_ids) for each in read)
        if names > MAX_NAMES:
            raise RequestError(
                "invalid_binding",
                f"the bindings make {names:,} pairs of an app and an account, more than "
                f"{MAX_NAMES:,}",
                name,
            )
        return tuple(read)

    def _get(self, name: str, default: Any) -> Any:
        value = self._request.get(name)
        return default if value is None else value


def _wrong(name: str, expected: str, value: object) -> RequestError:
    return RequestError("invalid_request", f"must be {expected}, got {kind_of(value)}", name)
