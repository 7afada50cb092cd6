"""Addresses of brokers: a URL is checked here, and no message shows its user name or password.

A mistyped URL is the usual case, and then the password can be in any part of it: an unencoded ``/``
or ``#`` in a password moves the rest of it into the path or the fragment, and the user name into
the host. So an error about a URL shows nothing of it except a scheme.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from edr.errors import did_you_mean

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}")
_ENCODE = (
    "in a user name, a password and a path, each of @ : / ? # [ ] must be percent-encoded: "
    "%40 for @, %2F for /"
)


def address_of(url: str, ports: Mapping[str, int], example: str) -> str:
    """Return ``scheme://host:port`` of a broker's URL, without user name, password and path.

    Args:
        url: the URL.
        ports: the schemes that are valid, each with its default port.
        example: what a valid URL looks like, for the error.

    Raises:
        ValueError: it is not such a URL. The message shows at most the scheme.
    """
    parts = split_url(url, ports, example)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or ports[parts.scheme]}"


def split_url(url: str, ports: Mapping[str, int], example: str) -> SplitResult:
    """Return the parts of a broker's URL.

    Raises:
        ValueError: as ``address_of``.
    """
    parts, fault = _split(url, ports)
    # Raised here, outside of any ``except``: urllib's own errors show parts of the URL.
    if parts is None:
        raise ValueError(f"a broker's URL must be {example}, got {fault}")
    return parts


def _split(url: str, ports: Mapping[str, int]) -> tuple[SplitResult | None, str]:
    if not isinstance(url, str):
        return None, f"a {type(url).__name__}"
    scheme, separator, _ = url.partition("://")
    if not separator:
        return None, "a URL without '://'"
    if scheme.lower() not in ports:
        if not _SCHEME.fullmatch(scheme):
            return None, "a URL without a scheme"
        return None, f"the scheme {scheme!r}{did_you_mean(scheme, ports)}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None, f"one that cannot be parsed; {_ENCODE}"
    if not host:
        return None, "a URL without a host"
    if "," in host:
        return None, "several hosts in one URL; give a list of URLs"
    if "@" in parts.path + parts.query + parts.fragment:
        return None, f"one with an @ after the host; {_ENCODE}"
    return parts, ""
