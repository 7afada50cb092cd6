"""Values of a configuration that may be secret: secrets, URLs, headers.

No message shows such a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ValidationInfo

from edr._util.text import is_encodable
from edr.app.config.checked import Checked, any_of, refuse
from edr.app.config.faults import LocatedError, Location
from edr.app.config.secret import Secret
from edr.app.config.texts import CONTROL, MAX_TEXT, path_of
from edr.errors import did_you_mean, kind_of

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


@dataclass(frozen=True)
class Url(Checked):
    """Metadata of a field with a URL."""

    schemes: tuple[str, ...] = ()


def secret(value: object, info: ValidationInfo) -> Secret:
    """Return a secret of ``{env = "NAME"}`` or ``{file = "PATH"}``."""
    if isinstance(value, Secret):
        return value
    expected = 'must be { env = "NAME" } or { file = "PATH" }'
    if not isinstance(value, Mapping):
        raise ValueError(f"{expected}, got {kind_of(value)}; the file has no secrets itself")
    if len(value) != 1 or not value.keys() <= {"env", "file"}:
        raise ValueError(f"{expected}, with one of the two keys")
    if "file" in value:
        return Secret(file=path_of(value["file"], info))
    if not isinstance(value["env"], str) or not _VARIABLE.fullmatch(value["env"]):
        raise ValueError("env must be the name of an environment variable, such as EDR_URL")
    return Secret(env=value["env"])


def check_url(text: str, schemes: Sequence[str]) -> str | None:
    """Return the fault of a URL, without any part of it except the scheme."""
    example = any_of([f"{each}://" for each in schemes])
    scheme = text.partition("://")[0].lower()
    if "://" not in text:
        return f"must be a URL that starts with {example}"
    if scheme not in schemes:
        hint = did_you_mean(scheme, schemes) if scheme.isalpha() else ""
        return f"must be a URL that starts with {example}{hint}"
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host or CONTROL.search(text) or not is_encodable(text) or " " in text:
        return f"must be a valid URL that starts with {example}, with a host"
    return None


def url_with(*schemes: str) -> Checked:
    """Return the type of a URL: text without a password, or a secret."""

    def check(value: object, info: ValidationInfo) -> str | Secret:
        if not isinstance(value, str):
            return secret(value, info)
        if fault := check_url(value, schemes):
            raise ValueError(fault)
        if "@" in value:
            raise ValueError(
                "must not have a user name or password in the file; put the whole URL into an "
                'environment variable or a file: { env = "NAME" } or { file = "PATH" }'
            )
        return value

    return Url("URL or secret", check, schemes=schemes)


SENSITIVE_HEADERS = {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"}
"""Headers whose values are always secrets."""


def _headers(value: object, info: ValidationInfo) -> dict[str, str | Secret]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table of headers, got {kind_of(value)}")
    found: dict[str, str | Secret] = {}
    names: dict[str, str] = {}
    faults: list[tuple[Location, str]] = []
    for name, each in value.items():
        if (other := names.setdefault(name.lower(), name)) != name:
            faults.append(((name,), f"must be given once; {other} is the same header"))
        try:
            found[name] = _header(name, each, info)
        except ValueError as exc:
            faults.append(((name,), str(exc)))
    if faults:
        raise LocatedError(faults)
    return found


def _header(name: str, value: object, info: ValidationInfo) -> str | Secret:
    if not _HEADER.fullmatch(name):
        raise refuse("the name of an HTTP header", name)
    if not isinstance(value, str):
        return secret(value, info)
    if name.lower() in SENSITIVE_HEADERS:
        raise ValueError('must be a secret: { env = "NAME" } or { file = "PATH" }')
    if CONTROL.search(value) or not is_encodable(value) or len(value) > MAX_TEXT:
        raise ValueError("must be one line of text without control characters")
    return value


SecretValue = Annotated[Secret, Checked("secret", secret)]
Headers = Annotated[dict[str, str | Secret], Checked("table of texts and secrets", _headers)]
