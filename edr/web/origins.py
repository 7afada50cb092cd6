"""``Origins``: the sites whose pages may use the gateway, and the host names of the gateway.

A browser sends the cookies of a user with the requests of any page. It also connects to any address
to which the author of a page lets a host name point (DNS rebinding). So the gateway checks two
headers:

* ``Host`` must be a name of the gateway.
* ``Origin`` must be that of the gateway, or one of ``origins``. A request of another site that has
  no ``Origin``, such as that of an image, is recognised by ``Sec-Fetch-Site``.

Programs other than browsers send no ``Origin``, and are served.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import TYPE_CHECKING

from edr.web.refusals import RefusedError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine."""

MAX_AGE = 600
"""Seconds for which a browser remembers a permission."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "authorization, content-type, last-event-id",
    "Access-Control-Max-Age": str(MAX_AGE),
}
"""The answer to a browser that asks which requests a page may send."""


class Origins:
    """Checks ``Host`` and ``Origin``.

    Args:
        origins: the sites whose pages may use the gateway, such as ``https://ops.example.net``. The
            site of the gateway itself need not be listed.
        hosts: the host names of the gateway, without a port. By default these are the names of this
            machine, IP addresses, and the hosts of ``origins``. ``["*"]`` accepts every name; do
            this only behind a proxy that checks it.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    def __init__(self, origins: Collection[str] = (), hosts: Collection[str] | None = None) -> None:
        self._origins = frozenset(checked_origin(each) for each in _listed("origins", origins))
        own = {_host_of_origin(each) for each in self._origins}
        self._accepts_addresses = hosts is None
        if hosts is None:
            self._hosts = frozenset(own | LOCAL_NAMES)
        else:
            self._hosts = frozenset(own | {checked_host(each) for each in _listed("hosts", hosts)})

    def check_host(self, connection: HTTPConnection) -> None:
        """Raise unless ``Host`` is a name of the gateway.

        Raises:
            RefusedError: it is another one, 421.
        """
        host = connection.headers.get("host", "")
        match = _HOST.fullmatch(host.lower())
        if match is not None and self._is_own_host(match[1].rstrip(".")):
            return
        raise RefusedError(
            "unknown_host", "the Host header must be a name of this gateway; see its option hosts"
        )

    def check_origin(self, connection: HTTPConnection) -> None:
        """Raise if the request comes from a page of another site.

        Raises:
            RefusedError: it does, 403.
        """
        origin = connection.headers.get("origin")
        if origin is None:
            site = connection.headers.get("sec-fetch-site", "none")
            if site in ("none", "same-origin"):
                return
        elif self._is_allowed(origin, connection):
            return
        raise RefusedError(
            "foreign_origin", "the page's site must be in the option origins of this gateway"
        )

    def check_listed(self, connection: HTTPConnection) -> None:
        """Raise if the request comes from a page whose site is not in ``origins``.

        ``Host`` is not used. So a name that the author of a page lets point here does not count.

        Raises:
            RefusedError: it does, 403.
        """
        origin = connection.headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise RefusedError(
                "foreign_origin", "the page's site must be in the option origins of this gateway"
            )

    def is_own(self, connection: HTTPConnection) -> bool:
        """Return whether a browser says that the request comes from a permitted page.

        Only then a cookie is accepted: a program without ``Origin`` sends its token in a header.
        """
        origin = connection.headers.get("origin")
        if origin is not None:
            return self._is_allowed(origin, connection)
        return connection.headers.get("sec-fetch-site") == "same-origin"

    def cors(self, connection: HTTPConnection) -> dict[str, str]:
        """Return the headers by which a browser gives an answer to a page of another site."""
        headers = {"Vary": "Origin"}
        origin = connection.headers.get("origin")
        if origin is not None and self._is_allowed(origin, connection):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers

    def _is_own_host(self, host: str) -> bool:
        if host in self._hosts or "*" in self._hosts:
            return True
        return self._accepts_addresses and _is_address(host)

    def _is_allowed(self, origin: str, connection: HTTPConnection) -> bool:
        if origin in self._origins:
            return True
        scheme = {"ws": "http", "wss": "https"}.get(connection.scope["scheme"])
        scheme = scheme or connection.scope["scheme"]
        return origin == f"{scheme}://{connection.headers.get('host', '').lower()}"


def _listed(name: str, value: Collection[str]) -> Collection[str]:
    if isinstance(value, str):
        raise TypeError(f"{name} must be a list of strings, got {value!r}")
    return value


def checked_origin(value: str) -> str:
    """Return ``value`` if it is the origin of a site.

    Raises:
        ValueError: it is not.
    """
    if not _ORIGIN.fullmatch(value):
        raise ValueError(
            "an origin must be a scheme and a host, such as https://ops.example.net, "
            f"in lower case and without a path, got {value!r}"
        )
    return value


def _host_of_origin(origin: str) -> str:
    match = _HOST.fullmatch(origin.partition("://")[2])
    assert match is not None
    return match[1]


def checked_host(value: str) -> str:
    """Return the name of a host in lower case, or ``*``.

    Raises:
        ValueError: ``value`` is not such a name, or has a port.
    """
    match = _HOST.fullmatch(value.lower())
    if value == "*":
        return value
    if match is None or match[2]:
        raise ValueError(f"a host must be a name without a port, got {value!r}")
    return match[1]


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
