"""The tables ``[sinks.NAME]``: which events go where, in which form, and how often it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from edr.app.config.binding_values import Bindings
from edr.app.config.formats import Format, JsonFormat
from edr.app.config.quantities import (
    DAY,
    HOUR,
    KIB,
    MIB,
    Flag,
    byte_size,
    duration,
    number,
    or_unlimited,
    whole_number,
)
from edr.app.config.secret import Secret
from edr.app.config.secret_values import Headers, SecretValue, url_with
from edr.app.config.section import Section, one_of
from edr.app.config.texts import FilePath, Text, choice
from edr.records import Binding

Batched: TypeAlias = Annotated[int, whole_number(1, 10_000)]
BatchBytes: TypeAlias = Annotated[int, byte_size(1, 64 * MIB)]
Linger: TypeAlias = Annotated[float, duration(0, HOUR)]

FILE_BATCH = 512
"""Events of one write of a file or of stdout: one sync for all of them."""


class BatchConfig(Section):
    """When a batch of one event for each request is complete."""

    events: Batched = Field(default=1, description="the most events of a batch")
    bytes: BatchBytes = Field(
        default=512 * KIB, description="the most bytes of JSON; one event may exceed"
    )
    linger: Linger = Field(
        default=0.0, description="the time to wait for further events after the first"
    )


class FileBatchConfig(BatchConfig):
    """When a batch of a file is complete."""

    events: Batched = Field(default=FILE_BATCH, description="the most events of a batch")


class RetryConfig(Section):
    """The delays between attempts: random, up to a limit that grows to ``cap``."""

    base: Annotated[float, duration(0.01, HOUR)] = Field(
        default=1.0, description="the longest delay before the second attempt"
    )
    factor: Annotated[float, number(1, 100)] = Field(
        default=2.0, description="the growth of the delay with each attempt"
    )
    cap: Annotated[float, duration(0.01, DAY)] = Field(
        default=60.0, description="the longest delay"
    )
    give_up_after: Annotated[float | None, or_unlimited(duration(1))] = Field(
        default=None, description="the age at which an event becomes a dead letter"
    )


class HttpRetryConfig(RetryConfig):
    """The delays between attempts of an HTTP sink."""

    cap: Annotated[float, duration(0.01, DAY)] = Field(
        default=300.0, description="the longest delay"
    )


class RotateConfig(Section):
    """When a file is renamed and a new one begins."""

    size: Annotated[int, byte_size(4 * KIB)] = Field(
        default=100 * MIB, description="the size at which the file is rotated"
    )
    keep: Annotated[int, whole_number(1, 10_000)] = Field(
        default=10, description="the rotated files kept"
    )
    compress: Flag = Field(default=True, description="compress rotated files with gzip")


class SignConfig(Section):
    """Signatures as Standard Webhooks defines them."""

    secret: SecretValue = Field(description="the secret, `{ env }` or `{ file }`")
    also: Annotated[Secret | None, SecretValue.__metadata__[0]] = Field(
        default=None, description="a second secret, during a change of the secret"
    )


class TlsConfig(Section):
    """How an HTTPS connection is checked."""

    ca: FilePath | None = Field(default=None, description="a file of certificates to trust, in PEM")
    certificate: FilePath | None = Field(default=None, description="a client certificate, in PEM")
    key: FilePath | None = Field(
        default=None, description="the private key of the client certificate"
    )


class SinkConfig(Section):
    """The keys of every sink."""

    type: str = ""
    enabled: Flag = Field(
        default=True, description="false: the sink is not started; its backlog is kept"
    )
    bindings: Bindings = Field(
        default=(Binding(),), description="the events to deliver; by default `info` and higher"
    )
    durable: Flag = Field(
        default=True,
        description="false: a queue in memory instead of the journal; events may be lost",
    )
    start: Annotated[str, choice("now", "oldest")] = Field(
        default="now",
        description="where a new sink begins: with new events, or with the oldest stored",
    )
    timeout: Annotated[float, duration(0.1, HOUR)] = Field(
        default=30.0, description="the time of one attempt to write"
    )
    capacity: Annotated[int, whole_number(1, 1_000_000)] = Field(
        default=10_000, description="events that wait in memory, if `durable = false`"
    )
    overflow: Annotated[str, choice("drop_oldest", "drop_newest")] = Field(
        default="drop_oldest", description="the events that are lost if that is full"
    )


class StdoutSinkConfig(SinkConfig):
    """Writes events to the standard output."""

    type: Literal["stdout"] = "stdout"
    format: Format = Field(default=JsonFormat(), description="the form of an event")
    batch: FileBatchConfig = Field(default=FileBatchConfig(), description="the size of a batch")
    retry: RetryConfig = Field(
        default=RetryConfig(), description="the delays after failed attempts"
    )


class FileSinkConfig(SinkConfig):
    """Appends events to a file."""

    type: Literal["file"] = "file"
    path: FilePath = Field(
        description="the file to append to; created with mode 0600 if it does not exist"
    )
    fsync: Annotated[str, choice("batch", "1s", "never")] = Field(
        default="batch", description="when the file is synced: `batch` survives a loss of power"
    )
    rotate: RotateConfig | None = Field(
        default=None, description="rotation by edr; none by default"
    )
    format: Format = Field(default=JsonFormat(), description="the form of an event")
    batch: FileBatchConfig = Field(default=FileBatchConfig(), description="the size of a batch")
    retry: RetryConfig = Field(
        default=RetryConfig(), description="the delays after failed attempts"
    )


class HttpSinkConfig(SinkConfig):
    """Sends events to an HTTP endpoint."""

    type: Literal["http"] = "http"
    url: Annotated[str | Secret, url_with("http", "https")] = Field(
        description="the endpoint, `http://` or `https://`"
    )
    method: Annotated[str, choice("post", "put", "patch")] = Field(
        default="post", description="the method of the requests"
    )
    headers: Headers = Field(default={}, description="further headers")
    connect_timeout: Annotated[float, duration(0.1, HOUR)] = Field(
        default=10.0, description="the time to connect, within `timeout`"
    )
    format: Format = Field(default=JsonFormat(), description="the form of an event")
    batch: BatchConfig = Field(default=BatchConfig(), description="the size of a batch")
    retry: HttpRetryConfig = Field(
        default=HttpRetryConfig(), description="the delays after failures"
    )
    sign: SignConfig | None = Field(default=None, description="signatures of the requests")
    tls: TlsConfig | None = Field(default=None, description="certificates for `https://`")


class RabbitSinkConfig(SinkConfig):
    """Publishes events to a RabbitMQ in Kazoo's wire format."""

    type: Literal["rabbitmq"] = "rabbitmq"
    url: Annotated[str | Secret, url_with("amqp", "amqps")] = Field(
        description="the broker, `amqp://` or `amqps://`"
    )
    exchange: Text = Field(default="kapps", description="the topic exchange")


class NatsSinkConfig(SinkConfig):
    """Publishes events to a NATS server."""

    type: Literal["nats"] = "nats"
    url: Annotated[str | Secret, url_with("nats", "tls", "wss", "ws")] = Field(
        description="the server, `nats://`, `tls://` or `wss://`"
    )
    prefix: Text = Field(default="edr", description="the first tokens of the subjects")


SINKS: Mapping[str, type[SinkConfig]] = {
    "stdout": StdoutSinkConfig,
    "file": FileSinkConfig,
    "http": HttpSinkConfig,
    "rabbitmq": RabbitSinkConfig,
    "amqp": RabbitSinkConfig,  # Kazoo's name
    "nats": NatsSinkConfig,
}

AnySink = Annotated[
    StdoutSinkConfig | FileSinkConfig | HttpSinkConfig | RabbitSinkConfig | NatsSinkConfig,
    one_of(SinkConfig, SINKS),
]
