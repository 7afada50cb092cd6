"""The tables ``[links.NAME]``: brokers that events are received from, sent to, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from edr.app.config.binding_values import OptionalBindings, Received
from edr.app.config.quantities import HOUR, Flag, duration, whole_number
from edr.app.config.secret import Secret
from edr.app.config.secret_values import url_with
from edr.app.config.section import Section, one_of
from edr.app.config.texts import Text, choice


class LinkConfig(Section):
    """The keys of every link."""

    type: str = ""
    enabled: Flag = Field(default=True, description="false: the link is not started")
    send: OptionalBindings = Field(default=(), description="the events to send; none by default")
    receive: Received = Field(
        default=(),
        description='the events to receive, none by default; `"wanted"`: those of the other parts',
    )
    durable: Flag = Field(
        default=True, description="false: events to send wait in memory instead of the journal"
    )
    timeout: Annotated[float, duration(0.1, HOUR)] = Field(
        default=10.0, description="the time to connect, and for an answer of the broker"
    )
    capacity: Annotated[int, whole_number(1, 1_000_000)] = Field(
        default=10_000, description="events that wait in memory, if `durable = false`"
    )
    overflow: Annotated[str, choice("drop_oldest", "drop_newest")] = Field(
        default="drop_oldest", description="the events that are lost if that is full"
    )


class RabbitLinkConfig(LinkConfig):
    """A RabbitMQ, in Kazoo's wire format."""

    type: Literal["rabbitmq"] = "rabbitmq"
    url: Annotated[str | Secret, url_with("amqp", "amqps")] = Field(
        description="the broker, `amqp://` or `amqps://`"
    )
    exchange: Text = Field(default="kapps", description="the topic exchange")
    queue: Text | None = Field(
        default=None,
        description="a durable queue to receive from; by default one for the connection only",
    )
    prefetch: Annotated[int, whole_number(1, 65_535)] = Field(
        default=256,
        description="messages that the broker sends before it waits for an acknowledgement",
    )
    max_keys: Annotated[int, whole_number(1, 100_000)] = Field(
        default=1024,
        description="keys that the queue is bound to; beyond, an account becomes any account",
    )


class NatsLinkConfig(LinkConfig):
    """A NATS server."""

    type: Literal["nats"] = "nats"
    url: Annotated[str | Secret, url_with("nats", "tls", "wss", "ws")] = Field(
        description="the server, `nats://`, `tls://` or `wss://`"
    )
    prefix: Text = Field(default="edr", description="the first tokens of the subjects")
    max_patterns: Annotated[int, whole_number(1, 100_000)] = Field(
        default=256, description="patterns to subscribe to; beyond, an account becomes any account"
    )
    max_hops: Annotated[int, whole_number(1, 15)] = Field(
        default=4, description="links that an event may cross"
    )


LINKS: Mapping[str, type[LinkConfig]] = {
    "rabbitmq": RabbitLinkConfig,
    "amqp": RabbitLinkConfig,  # Kazoo's name
    "nats": NatsLinkConfig,
}

AnyLink = Annotated[RabbitLinkConfig | NatsLinkConfig, one_of(LinkConfig, LINKS)]
