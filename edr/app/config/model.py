"""``Configuration``: the whole file as one immutable value that a reload can compare part by part.

The names of parts are keys of dictionaries, which nothing may change after the load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from edr.app.config.links import AnyLink, LinkConfig
from edr.app.config.quantities import DAY, GIB, HOUR, MIB, Flag, byte_size, duration, or_unlimited
from edr.app.config.section import Section
from edr.app.config.sinks import AnySink, SinkConfig
from edr.app.config.sources import AnySource, SourceConfig
from edr.app.config.texts import (
    CallablePath,
    FilePath,
    Listen,
    Mode,
    Name,
    Text,
    choice,
    choices,
    names,
)
from edr.app.config.web import WebConfig
from edr.records import Binding

PartKind: TypeAlias = Literal["source", "link", "sink"]
AnyPart: TypeAlias = SourceConfig | LinkConfig | SinkConfig

PART_SECTIONS = ("sources", "links", "sinks")
"""The sections whose keys are names of parts."""

PERMISSIONS = ("emit", "bindings", "sinks", "reload")
"""The changes that the control socket can permit."""


class AccountsConfig(Section):
    """Where the ancestors of an account are found."""

    file: FilePath | None = Field(
        default=None, description="a JSON file: an object with the parent of each account"
    )
    callable: CallablePath | None = Field(
        default=None, description="an async function that returns the ancestors of an account"
    )
    ttl: Annotated[float, duration(0, DAY)] = Field(
        default=60.0, description="the time for which a result is used"
    )
    timeout: Annotated[float, duration(0.01, HOUR)] = Field(
        default=1.0, description="the time to wait for a result"
    )


class AppConfig(Section):
    """The application as a whole."""

    name: Name = Field(
        default="edr", description="the name of the process for `edr status` and others"
    )
    node: Text | None = Field(
        default=None,
        description="the node of events without one, the same over restarts; "
        "by default the name of the host",
    )
    data_dir: FilePath = Field(
        default="edr-data",  # validated: next to the configuration file
        validate_default=True,
        description="the folder of the journal and the dead letters, created with mode 0700",
    )
    shutdown_timeout: Annotated[float, duration(0, HOUR)] = Field(
        default=15.0, description="the time that sinks have at the stop to deliver their backlog"
    )
    ready_requires: Annotated[tuple[str, ...], names] = Field(
        default=(),
        description="sinks, sources and links that must work for `/readyz` to answer 200",
    )
    accounts: AccountsConfig | None = Field(
        default=None, description="the account tree; by default it is empty"
    )


class JournalConfig(Section):
    """The journal in ``data_dir``, which keeps events until they are delivered."""

    max_bytes: Annotated[int, byte_size(MIB)] = Field(
        default=GIB, description="the most bytes on the disk"
    )
    max_age: Annotated[float | None, or_unlimited(duration(1))] = Field(
        default=7.0 * DAY, description="the age at which events are removed"
    )
    sync: Annotated[str, choice("disk", "process")] = Field(
        default="disk",
        description="stored events survive a loss of power, or the end of the process only",
    )
    full: Annotated[str, choice("drop_oldest", "block")] = Field(
        default="drop_oldest",
        description="a full journal removes its oldest events, or lets the sources wait",
    )
    linger: Annotated[float, duration(0, 10)] = Field(
        default=0.01, description="the time for which events are collected for one commit"
    )


class ControlConfig(Section):
    """The control socket, which `edr status` and other commands use."""

    enabled: Flag = Field(default=True, description="false: no control socket")
    path: FilePath | None = Field(
        default=None, description="the socket; by default in the runtime folder of the user"
    )
    mode: Mode = Field(default=0o600, description="the permissions of the socket")
    allow: Annotated[tuple[str, ...], choices(*PERMISSIONS)] = Field(
        default=("sinks", "reload"), description="the changes that commands may make"
    )


class HttpConfig(Section):
    """The HTTP server: `/ingest`, `/livez`, `/readyz`, `/metrics`."""

    listen: Listen = Field(description='HOST:PORT to listen on, such as `"127.0.0.1:8490"`')
    tokens_file: FilePath | None = Field(
        default=None,
        description="a file with one JSON object for each token; without it, none is needed",
    )


class Configuration(Section):
    """The configuration of the application. Make it with ``load``; two equal files are equal."""

    app: AppConfig = Field(
        default={},  # validated: its default path is next to the file
        validate_default=True,
        description="the application as a whole",
    )
    journal: JournalConfig = Field(default=JournalConfig(), description="the journal")
    control: ControlConfig = Field(default=ControlConfig(), description="the control socket")
    http: HttpConfig | None = Field(default=None, description="the HTTP server; off unless given")
    web: WebConfig | None = Field(default=None, description="the web gateway; off unless given")
    sources: dict[Name, AnySource] = Field(default={}, description="where events come from")
    links: dict[Name, AnyLink] = Field(default={}, description="brokers")
    sinks: dict[Name, AnySink] = Field(default={}, description="where events go")

    def parts(self) -> Iterator[tuple[PartKind, str, AnyPart]]:
        """Yield the kind, the name and the configuration of each enabled part."""
        kinds: tuple[tuple[PartKind, Mapping[str, AnyPart]], ...] = (
            ("source", self.sources),
            ("link", self.links),
            ("sink", self.sinks),
        )
        for kind, parts in kinds:
            for name, part in parts.items():
                if part.enabled:
                    yield kind, name, part

    def stored_bindings(self) -> tuple[Binding, ...]:
        """Return the bindings of all enabled durable parts: the events that the journal stores."""
        found: dict[Binding, None] = {}
        if self.web is not None:
            found |= dict.fromkeys(self.web.bindings)
        for _, _, part in self.parts():
            if isinstance(part, SinkConfig) and part.durable:
                found |= dict.fromkeys(part.bindings)
            elif isinstance(part, LinkConfig) and part.durable:
                found |= dict.fromkeys(part.send)
        return tuple(found)
