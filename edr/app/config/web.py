"""The section ``web``: the gateway that streams events to browsers and HTTP clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, ValidationInfo

from edr.app.config.binding_values import Bindings
from edr.app.config.checked import Checked
from edr.app.config.faults import LocatedError, Location
from edr.app.config.quantities import HOUR, KIB, MIB, Flag, byte_size, duration, whole_number
from edr.app.config.section import Section
from edr.app.config.texts import CallablePath, FilePath, Listen, plain_text
from edr.errors import kind_of, shown
from edr.records import Binding
from edr.web.limits import Limits
from edr.web.origins import checked_host, checked_origin

MAX_CLIENTS = 1_000_000
"""A limit of clients above this one is a mistake."""

_DEFAULT = Limits()
_PATH = re.compile(r"/(?:[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)?")


def _array_of(what: str, check_one: Callable[[str], str]) -> Checked:
    """Return the type of an array of texts, each with a check that raises ``ValueError``."""

    def check(value: object, _: ValidationInfo) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be an array of {what}, got {kind_of(value)}")
        found: list[str] = []
        faults: list[tuple[Location, str]] = []
        for index, each in enumerate(value):
            try:
                found.append(check_one(plain_text(each)))
            except ValueError as exc:
                faults.append(((index,), str(exc)))
        if faults:
            raise LocatedError(faults)
        return tuple(dict.fromkeys(found))

    return Checked(f"array of {what}", check)


def _address(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError(
            f"must be an IP address, or a network such as 10.0.0.0/8, got {shown(value)}"
        ) from None
    return value


def _url_path(value: object, _: ValidationInfo) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _PATH.fullmatch(value) or value == "/ws":
        got = shown(value) if isinstance(value, str) else kind_of(value)
        raise ValueError(f'must be the path of a URL other than "/ws", such as "/", got {got}')
    return value


class WebLimitsConfig(Section):
    """The limits of clients and of their requests."""

    clients: Annotated[int, whole_number(1, MAX_CLIENTS)] = Field(
        default=_DEFAULT.clients, description="connections at a time"
    )
    per_account: Annotated[int, whole_number(1, MAX_CLIENTS)] = Field(
        default=_DEFAULT.per_account, description="connections of one account"
    )
    per_address: Annotated[int, whole_number(1, MAX_CLIENTS)] = Field(
        default=_DEFAULT.per_address, description="connections from one address"
    )
    subscriptions: Annotated[int, whole_number(1, 1000)] = Field(
        default=_DEFAULT.subscriptions, description="subscriptions of one WebSocket"
    )
    frame: Annotated[int, byte_size(KIB, 16 * MIB)] = Field(
        default=_DEFAULT.frame, description="bytes of a request that a client sends"
    )
    batch: Annotated[int, byte_size(KIB, 16 * MIB)] = Field(
        default=_DEFAULT.batch, description="bytes of events in one write"
    )


class WebConfig(Section):
    """The web gateway, which streams events to browsers and HTTP clients."""

    listen: Listen = Field(
        default="127.0.0.1:8490",
        description="HOST:PORT to listen on; with the value of `http.listen`, both have one server",
    )
    tokens_file: FilePath | None = Field(
        default=None,
        description="a file with one JSON object for each token; either this or `authenticate`",
    )
    authenticate: CallablePath | None = Field(
        default=None, description="a function that returns the grant of a token"
    )
    bindings: Bindings = Field(
        default=(Binding(),),
        description="the events that clients can receive; by default `info` and higher",
    )
    viewer: Flag = Field(default=True, description="serve the page that shows the events")
    blackhole: Annotated[str | None, Checked("path of a URL", _url_path)] = Field(
        default=None, description="where clients of Kazoo's Blackhole connect; by default nowhere"
    )
    origins: Annotated[tuple[str, ...], _array_of("origins", checked_origin)] = Field(
        default=(), description="sites whose pages may use the gateway, next to its own"
    )
    hosts: Annotated[tuple[str, ...] | None, _array_of("host names", checked_host)] = Field(
        default=None,
        description="the host names of the gateway; by default those of this machine, IP "
        "addresses and the hosts of `origins`",
    )
    behind_proxy: Flag = Field(
        default=False, description="true: a proxy with TLS is in front of the gateway"
    )
    proxies: Annotated[tuple[str, ...], _array_of("addresses", _address)] = Field(
        default=("127.0.0.1", "::1"),
        description="the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed",
    )
    certificate: FilePath | None = Field(
        default=None, description="a file with the TLS certificate and its chain"
    )
    key: FilePath | None = Field(
        default=None, description="the file of its private key, if it is another file"
    )
    heartbeat: Annotated[float, duration(1, HOUR)] = Field(
        default=15.0, description="the time without an event after which a client gets its cursor"
    )
    send_timeout: Annotated[float, duration(1, HOUR)] = Field(
        default=10.0, description="the time after which a client that does not read is given up"
    )
    limits: WebLimitsConfig = Field(
        default=WebLimitsConfig(), description="the limits of clients and requests"
    )
