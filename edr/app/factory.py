"""``PartFactory``: makes sinks, sources and links from their configuration, for one bus.

The packages of a part are imported when a configuration has one of its type: an HTTP sink alone
needs aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edr.app.changes import Action, Change
from edr.app.config import (
    FileSinkConfig,
    FormatConfig,
    HttpSinkConfig,
    HttpSourceConfig,
    JetStreamSourceConfig,
    LinkConfig,
    NatsSinkConfig,
    RabbitLinkConfig,
    RabbitSinkConfig,
    Secrets,
    SinkConfig,
    SocketSourceConfig,
    StdinSourceConfig,
    StdoutSinkConfig,
    WebConfig,
)
from edr.app.parts import AppPart
from edr.bus import Bus, Overflow
from edr.errors import EdrError
from edr.links import Link
from edr.records import EVERY_EVENT, Binding
from edr.sinks import (
    Batch,
    DeadLetters,
    Encoder,
    FileSink,
    JournalIntake,
    LinkPart,
    QueueIntake,
    Recording,
    Retry,
    Rotate,
    Signer,
    Sink,
    SinkWorker,
    StdoutSink,
)
from edr.sources import HttpIngest, Ingest, JetStreamSource, SocketSource, StdinSource, Tokens

if TYPE_CHECKING:
    from edr.app.gateway import GatewayPart


class UnsupportedPartError(EdrError):
    """A part of this type cannot be made: an extra of edr is not installed."""


class PartFactory:
    """Makes the parts of an application, and changes them in place.

    Args:
        bus: has a journal.
        data_dir: has the folder ``dead`` with the dead letters.
        tokens: the tokens of the HTTP server; ``None`` if it needs none.
    """

    def __init__(self, bus: Bus, data_dir: Path, tokens: Tokens | None = None) -> None:
        self.http_ingest: HttpIngest | None = None
        """The source of the type http, which the HTTP server calls."""
        self.gateway: GatewayPart | None = None
        """The web gateway, which the server of ``web.listen`` calls."""
        self._tokens = tokens
        self.recording: Recording = Recording(bus)
        self.ingest: Ingest = Ingest(bus)
        self._bus = bus
        self._data_dir = data_dir

    def make(self, kind: str, name: str, configuration: Any, secrets: Secrets) -> AppPart:
        """Return a new part; it is not started.

        Raises:
            UnsupportedPartError: its type needs an extra that is not installed.
            SecretError: a secret cannot be read.
        """
        if isinstance(configuration, RabbitSinkConfig | NatsSinkConfig | LinkConfig):
            return self._link(kind, name, configuration, secrets)
        if isinstance(configuration, SinkConfig):
            return self._worker(name, configuration, secrets)
        if isinstance(configuration, WebConfig):
            return self._gateway(configuration)
        return self._source(name, configuration, secrets)

    # Sinks

    def _worker(self, name: str, configuration: Any, secrets: Secrets) -> SinkWorker:
        return SinkWorker(
            name,
            make_sink(name, configuration, secrets),
            self._intake(name, configuration),
            **self._options(name, configuration),
            bus=self._bus,
        )

    def _intake(self, name: str, configuration: SinkConfig) -> JournalIntake | QueueIntake:
        if not configuration.durable:
            return QueueIntake(
                self._bus,
                configuration.bindings,
                capacity=configuration.capacity,
                overflow=Overflow(configuration.overflow),
                name=f"sink {name}",
            )
        journal: Any = self._bus.journal
        start: Any = configuration.start
        return JournalIntake(
            journal,
            f"sink:{name}",
            configuration.bindings,
            start=start,
            recording=self.recording,
        )

    def _options(self, name: str, configuration: Any) -> dict[str, Any]:
        batch, retry = configuration.batch, configuration.retry
        return {
            "batch": Batch(events=batch.events, bytes=batch.bytes, linger=batch.linger),
            "retry": Retry(
                base=retry.base,
                factor=retry.factor,
                cap=retry.cap,
                give_up_after=retry.give_up_after,
            ),
            "dead_letters": DeadLetters(dead_letters_file(self._data_dir, name)),
            "timeout": configuration.timeout,
        }

    # Sources

    def _source(self, name: str, configuration: Any, secrets: Secrets) -> AppPart:
        if isinstance(configuration, StdinSourceConfig):
            return StdinSource(name, self.ingest)
        if isinstance(configuration, HttpSourceConfig):
            self.http_ingest = HttpIngest(
                name,
                self.ingest,
                tokens=self._tokens,
                max_body=configuration.max_body,
                max_requests=configuration.max_requests,
            )
            return self.http_ingest
        if isinstance(configuration, SocketSourceConfig):
            return SocketSource(
                name,
                self.ingest,
                configuration.path,
                mode=configuration.mode,
                max_connections=configuration.max_connections,
                idle_timeout=configuration.idle_timeout,
            )
        if isinstance(configuration, JetStreamSourceConfig):
            from edr.links import JetStreamJournal  # noqa: PLC0415 - needs nats-py

            stream = JetStreamJournal(
                secrets.text(configuration.url), configuration.stream, prefix=configuration.prefix
            )
            start: Any = configuration.start
            return JetStreamSource(
                name,
                self.ingest,
                stream,
                *configuration.bindings,
                consumer=configuration.consumer,
                start=start,
            )
        raise UnsupportedPartError(_unknown("sources", name, configuration.type))

    # The web gateway

    def _gateway(self, configuration: WebConfig) -> GatewayPart:
        try:
            from edr.app.gateway import GatewayPart  # noqa: PLC0415 - needs starlette
        except ImportError as exc:
            raise UnsupportedPartError(_extra("web", "web")) from exc
        self.gateway = GatewayPart(self._bus, configuration, self.recording)
        return self.gateway

    # Links

    def _link(self, kind: str, name: str, configuration: Any, secrets: Secrets) -> LinkPart:
        is_sink = isinstance(configuration, SinkConfig)
        send = configuration.bindings if is_sink else configuration.send
        receive: Any = () if is_sink else configuration.receive
        make = link_maker(self._bus, name, configuration, secrets, receive)
        journal: Any = self._bus.journal if configuration.durable and send else None
        kinds: dict[str, Literal["sink", "link"]] = {"sink": "sink", "link": "link"}
        part = LinkPart(
            name,
            lambda bindings: make(bindings, journal),
            tuple(send),
            kind=kinds[kind],
            journal=journal,
            start=configuration.start if is_sink else "now",
            bus=self._bus,
            dead_letters=DeadLetters(dead_letters_file(self._data_dir, name)),
        )
        if part.consumer is not None:
            self.recording.replace(part.consumer, part.bindings)
        return part

    # Changes

    async def rebind(self, part: AppPart, configuration: Any) -> None:
        """Change the bindings of a sink; see ``SinkWorker.rebind``."""
        assert isinstance(part, SinkWorker | LinkPart)
        await part.rebind(*configuration.bindings)

    async def replace(self, part: AppPart, old: Any, new: Any, secrets: Secrets) -> bool:
        """Give a sink other options: the new one continues where the old one was.

        Returns:
            False for a part that must stop and be made again: a source, a link, and a sink whose
            events come from elsewhere than before.
        """
        if isinstance(new, WebConfig):
            gateway: Any = part
            await gateway.replace(new)
            return True
        if not isinstance(part, SinkWorker) or type(new) is not type(old):
            return False
        if any(getattr(old, key) != getattr(new, key) for key in INTAKE_KEYS):
            return False
        await part.replace(make_sink(part.name, new, secrets), **self._options(part.name, new))
        if old.bindings != new.bindings:
            await part.rebind(*new.bindings)
        return True

    def widen(self, changes: Iterable[Change]) -> None:
        """Widen the stored events by the bindings of new and changed parts."""
        for change in changes:
            if bindings := _stored(change.new):
                self.recording.widen(_consumer_of(change), bindings)

    def narrow(self, changes: Iterable[Change]) -> None:
        """Narrow the stored events to the bindings of the parts."""
        for change in changes:
            consumer = _consumer_of(change)
            if bindings := _stored(change.new):
                self.recording.replace(consumer, bindings)
            elif change.action is Action.REMOVED or _stored(change.old):
                self.recording.remove(consumer)

    async def refresh(self) -> None:
        """End the streams of web clients whose tokens have been removed."""
        if self.gateway is not None:
            await self.gateway.renew()


def make_sink(name: str, configuration: SinkConfig, secrets: Secrets) -> Sink:
    """Return the sink of a configuration; it is not open.

    Raises:
        UnsupportedPartError: its type needs an extra that is not installed, or has no ``Sink``.
        SecretError: a secret cannot be read.
    """
    if isinstance(configuration, FileSinkConfig):
        rotate = configuration.rotate
        fsync: Any = configuration.fsync
        return FileSink(
            configuration.path,
            encode=_encoder(configuration.format, lines=True),
            rotate=None
            if rotate is None
            else Rotate(size=rotate.size, keep=rotate.keep, compress=rotate.compress),
            fsync=fsync,
            name=name,
        )
    if isinstance(configuration, StdoutSinkConfig):
        return StdoutSink(encode=_encoder(configuration.format, lines=True))
    if isinstance(configuration, HttpSinkConfig):
        return _http_sink(name, configuration, secrets)
    raise UnsupportedPartError(_unknown("sinks", name, configuration.type))


def _http_sink(name: str, configuration: HttpSinkConfig, secrets: Secrets) -> Sink:
    try:
        from edr.sinks import HttpSink  # noqa: PLC0415 - needs aiohttp
    except ImportError as exc:
        raise UnsupportedPartError(_extra(f"sinks.{name}", "http")) from exc
    sign = configuration.sign
    signer = None
    if sign is not None:
        also = None if sign.also is None else secrets.text(sign.also)
        signer = Signer(secrets.text(sign.secret), also=also)
    return HttpSink(
        secrets.text(configuration.url),
        name=name,
        encode=_encoder(configuration.format, single=configuration.batch.events == 1),
        method=configuration.method,
        headers={key: secrets.text(value) for key, value in configuration.headers.items()},
        signer=signer,
        timeout=configuration.timeout,
        connect_timeout=configuration.connect_timeout,
        tls=_tls_context(configuration),
    )


def link_maker(
    bus: Bus,
    name: str,
    configuration: Any,
    secrets: Secrets,
    receive: Any,
) -> Callable[[tuple[Binding, ...], Any], Link]:
    """Return a function that makes a link that sends the events of its bindings.

    Args:
        bus: the bus of the link.
        name: its name.
        configuration: that of a link, or of a sink that is one.
        secrets: the values of the secrets.
        receive: the events to receive; ``()`` for none.

    Raises:
        SecretError: a secret cannot be read.
    """
    is_rabbit = isinstance(configuration, RabbitSinkConfig | RabbitLinkConfig)
    options: dict[str, Any] = {
        "name": name,
        "receive": receive,
        "capacity": configuration.capacity,
        "overflow": configuration.overflow,
        "timeout": configuration.timeout,
    }
    for key in ("exchange", "prefix", "prefetch", "max_keys", "max_patterns", "max_hops"):
        if hasattr(configuration, key):
            options[key] = getattr(configuration, key)
    if receive and getattr(configuration, "queue", None) is not None:
        options |= {"queue": configuration.queue, "durable": True}
    url = secrets.text(configuration.url)

    def make(bindings: tuple[Binding, ...], journal: Any) -> Link:
        from edr.links import NatsLink, RabbitLink  # noqa: PLC0415 - each needs its extra

        link = RabbitLink if is_rabbit else NatsLink
        return link(bus, url, send=bindings, journal=journal, **options)

    return make


def dead_letters_file(data_dir: Path, sink: str) -> Path:
    """Return the path of the dead letters of a sink."""
    return data_dir / "dead" / f"{sink}.jsonl"


INTAKE_KEYS = ("durable", "start", "capacity", "overflow")
"""Settings of where the events of a sink come from."""


def _consumer_of(change: Change) -> str:
    """Return the name of the consumer of a part in the journal; for the gateway, one like it."""
    if isinstance(change.new or change.old, WebConfig):
        return f"{change.kind}:{change.name}"
    is_link = isinstance(change.new or change.old, LinkConfig | RabbitSinkConfig | NatsSinkConfig)
    return f"{'link' if is_link else 'sink'}:{change.name}"


def _stored(configuration: Any) -> tuple[Binding, ...]:
    """Return the bindings of the events that the journal keeps for a part."""
    if isinstance(configuration, WebConfig):
        return configuration.bindings
    if configuration is None or not getattr(configuration, "durable", False):
        return ()
    if isinstance(configuration, SinkConfig):
        return configuration.bindings or (EVERY_EVENT,)
    return tuple(configuration.send)


def _encoder(form: FormatConfig, *, single: bool = False, lines: bool = False) -> Encoder:
    options = form.model_dump(exclude={"type", "lines"}, exclude_defaults=True)
    return Encoder(
        form.type, single=single, lines=lines or getattr(form, "lines", False), **options
    )


def _tls_context(configuration: HttpSinkConfig) -> Any:
    if configuration.tls is None:
        return None
    import ssl  # noqa: PLC0415 - loads OpenSSL

    tls = configuration.tls
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _extra(place: str, extra: str) -> str:
    return f"{place}: this type needs the extra {extra!r}: pip install 'edr[{extra}]'"


def _unknown(section: str, name: str, type: str) -> str:
    return f"{section}.{name}: the type {type!r} is not part of this version"
