"""The tables ``[sources.NAME]``: where events come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from edr.app.config.binding_values import Bindings
from edr.app.config.quantities import (
    DAY,
    HOUR,
    KIB,
    MIB,
    Flag,
    byte_size,
    duration,
    or_unlimited,
    whole_number,
)
from edr.app.config.secret import Secret
from edr.app.config.secret_values import url_with
from edr.app.config.section import Section, one_of
from edr.app.config.texts import FilePath, Mode, Text, choice
from edr.records import Binding


class SourceConfig(Section):
    """The keys of every source."""

    type: str = ""
    enabled: Flag = Field(default=True, description="false: the source is not started")


class StdinSourceConfig(SourceConfig):
    """Reads JSON lines from the standard input."""

    type: Literal["stdin"] = "stdin"


class SocketSourceConfig(SourceConfig):
    """Reads JSON lines from the connections of a Unix socket."""

    type: Literal["socket"] = "socket"
    path: FilePath = Field(description="the socket to create")
    mode: Mode = Field(default=0o600, description="the permissions of the socket")
    max_connections: Annotated[int, whole_number(1, 10_000)] = Field(
        default=64, description="the most connections at a time"
    )
    idle_timeout: Annotated[float | None, or_unlimited(duration(1, DAY * 30))] = Field(
        default=float(HOUR),
        description="the time without a byte after which a client is disconnected",
    )


class HttpSourceConfig(SourceConfig):
    """Accepts events by ``POST /ingest`` on the address of ``http``."""

    type: Literal["http"] = "http"
    max_body: Annotated[int, byte_size(KIB, 64 * MIB)] = Field(
        default=4 * MIB, description="the most bytes of a request"
    )
    max_requests: Annotated[int, whole_number(1, 10_000)] = Field(
        default=64, description="the most requests at a time"
    )


class JetStreamSourceConfig(SourceConfig):
    """Reads the events of a JetStream stream with a named consumer."""

    type: Literal["jetstream"] = "jetstream"
    url: Annotated[str | Secret, url_with("nats", "tls", "wss", "ws")] = Field(
        description="the server, `nats://`, `tls://` or `wss://`"
    )
    stream: Text = Field(description="the name of the stream")
    consumer: Text = Field(
        default="edr", description="the name of the consumer, which keeps the position"
    )
    bindings: Bindings = Field(
        default=(Binding(),), description="the events to read; by default `info` and higher"
    )
    start: Annotated[str, choice("now", "oldest")] = Field(
        default="now", description="where a new consumer begins"
    )
    prefix: Text | None = Field(default=None, description="the first tokens of the subjects")


SOURCES: Mapping[str, type[SourceConfig]] = {
    "stdin": StdinSourceConfig,
    "socket": SocketSourceConfig,
    "http": HttpSourceConfig,
    "jetstream": JetStreamSourceConfig,
}

AnySource = Annotated[
    StdinSourceConfig | SocketSourceConfig | HttpSourceConfig | JetStreamSourceConfig,
    one_of(SourceConfig, SOURCES),
]
