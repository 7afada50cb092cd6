"""Rules beyond types: relations between the settings, the files and the secrets that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

from edr.app.config.faults import Location
from edr.app.config.formats import CloudEventsFormat, KazooFormat
from edr.app.config.links import LinkConfig, NatsLinkConfig, RabbitLinkConfig
from edr.app.config.model import Configuration, HttpConfig
from edr.app.config.quantities import duration_text
from edr.app.config.secret import SecretError, Secrets, secrets_in
from edr.app.config.secret_values import Url, check_url
from edr.app.config.section import Section
from edr.app.config.sinks import (
    FileSinkConfig,
    HttpSinkConfig,
    NatsSinkConfig,
    RabbitSinkConfig,
    RetryConfig,
    SinkConfig,
    StdoutSinkConfig,
)
from edr.app.config.sources import (
    HttpSourceConfig,
    JetStreamSourceConfig,
    SocketSourceConfig,
    StdinSourceConfig,
)
from edr.app.config.web import WebConfig
from edr.errors import did_you_mean, shown
from edr.sinks import Signer
from edr.sources import Tokens, TokensError

Found = Iterator[tuple[Location, str]]


def check(
    configuration: Configuration,
    *,
    without: Collection[Location] = (),
    paths: Mapping[Location, Path] = MappingProxyType({}),
) -> Found:
    """Yield the faults that no single value shows, and that the file has on each machine.

    Args:
        configuration: the configuration.
        without: the sections and parts of the file that have faults. The configuration does not
            have them, and rules that concern them are not checked.
        paths: the place and the path of files and sockets in these parts.
    """
    yield from _names(configuration, without)
    yield from _shared_paths(configuration, paths)
    yield from _single_parts(configuration)
    if ("http",) not in without:
        yield from _http(configuration)
    yield from _web(configuration, without)
    yield from _accounts(configuration)
    for kind, name, part in configuration.parts():
        if isinstance(part, SinkConfig):
            yield from _sink((f"{kind}s", name), part)
        elif isinstance(part, LinkConfig):
            yield from _link((f"{kind}s", name), part)
    yield from _secrets(configuration, Secrets({}), given=True)


def check_machine(configuration: Configuration, environ: Mapping[str, str] | None = None) -> Found:
    """Yield the faults of this machine: extras, secrets and files that the configuration needs.

    Args:
        configuration: the configuration.
        environ: the environment variables; by default those of the process.
    """
    yield from _extras(configuration)
    yield from _files(configuration)
    yield from _secrets(configuration, Secrets(environ), given=False)


def faults_at_open(configuration: Configuration, consumers: Iterable[str]) -> Found:
    """Yield the faults that the open journal shows.

    Args:
        configuration: the configuration.
        consumers: the names of the journal's consumers that belong to no part.
    """
    if configuration.journal.full == "block":
        for name in consumers:
            message = (
                f'the consumer {shown(name)} of the journal has no part; with full = "block" its '
                "unread entries would stop all sources; forget it with edr journal forget, or add "
                "the part again"
            )
            yield ("journal", "full"), message


EXTRAS: Mapping[type[Section], tuple[str, tuple[str, ...]]] = {
    HttpSinkConfig: ("http", ("aiohttp",)),
    RabbitSinkConfig: ("rabbitmq", ("aiormq",)),
    RabbitLinkConfig: ("rabbitmq", ("aiormq",)),
    NatsSinkConfig: ("nats", ("nats",)),
    NatsLinkConfig: ("nats", ("nats",)),
    JetStreamSourceConfig: ("nats", ("nats",)),
    HttpConfig: ("web", ("uvicorn", "starlette", "prometheus_client")),
    WebConfig: ("web", ("uvicorn", "starlette", "websockets", "prometheus_client")),
}
"""The extra of edr that a part needs, and the packages that it installs."""


def _extras(configuration: Configuration) -> Found:
    used: list[tuple[Location, Section]] = [
        ((f"{kind}s", name, "type"), part) for kind, name, part in configuration.parts()
    ]
    if configuration.http is not None:
        used.append((("http",), configuration.http))
    if configuration.web is not None:
        used.append((("web",), configuration.web))
    for place, section in used:
        extra, packages = EXTRAS.get(type(section), ("", ()))
        if missing := [package for package in packages if find_spec(package) is None]:
            noun = "package" if len(missing) == 1 else "packages"
            yield place, f"needs the {noun} {', '.join(missing)}: pip install 'edr[{extra}]'"


def _files(configuration: Configuration) -> Found:
    """Yield the files that cannot be read."""
    accounts = configuration.app.accounts
    if accounts is not None and accounts.file is not None:
        yield from _readable(("app", "accounts", "file"), accounts.file)
    for name, section in (("http", configuration.http), ("web", configuration.web)):
        if section is not None and section.tokens_file is not None:
            try:
                Tokens(section.tokens_file)
            except TokensError as exc:
                yield (name, "tokens_file"), str(exc)
    if configuration.web is not None:
        yield from _certificate(configuration.web)
    for kind, name, part in configuration.parts():
        tls = part.tls if isinstance(part, HttpSinkConfig) else None
        for key in () if tls is None else ("ca", "certificate", "key"):
            if (path := getattr(tls, key)) is not None:
                yield from _readable((f"{kind}s", name, "tls", key), path)


def _names(configuration: Configuration, without: Collection[Location]) -> Found:
    parts: dict[str, Location] = {}
    for kind, name, _ in configuration.parts():
        place = (f"{kind}s", name)
        if name in parts:
            yield place, f"must have another name: {'.'.join(map(str, parts[name]))} has this one"
        parts[name] = place
    with_faults = {name for section, *names in without if section != "app" for name in names}
    for index, name in enumerate(configuration.app.ready_requires):
        if name not in parts and name not in with_faults:
            hint = did_you_mean(name, parts)
            message = f"must be the name of an enabled sink, source or link, got {name!r}{hint}"
            yield ("app", "ready_requires", index), message


def _shared_paths(configuration: Configuration, others: Mapping[Location, Path]) -> Found:
    paths: list[tuple[Location, Path]] = list(others.items())
    for kind, name, part in configuration.parts():
        if isinstance(part, FileSinkConfig | SocketSourceConfig):
            paths.append(((f"{kind}s", name, "path"), part.path))
    if configuration.control.enabled and configuration.control.path is not None:
        paths.append((("control", "path"), configuration.control.path))
    resolved = [(place, _resolved(path)) for place, path in paths]
    for (first, path), (second, other) in combinations(resolved, 2):
        if path == other:
            yield second, f"must be another file: {'.'.join(map(str, first))} is {path} too"
    data = _resolved(configuration.app.data_dir)
    for place, path in resolved:
        if path.is_relative_to(data / "journal") or path.is_relative_to(data / "dead"):
            yield place, "must not be in the folder of the journal or of the dead letters"
        elif path.is_dir():
            yield place, f"must be a file, and {path} is a folder"


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return path.absolute()


def _single_parts(configuration: Configuration) -> Found:
    for kind, reason in (
        (StdinSourceConfig, "there is one standard input"),
        (HttpSourceConfig, "there is one address, http.listen"),
        (StdoutSinkConfig, "there is one standard output"),
    ):
        found = [
            (f"{part_kind}s", name)
            for part_kind, name, part in configuration.parts()
            if isinstance(part, kind)
        ]
        for place in found[1:]:
            first = ".".join(found[0])
            yield (*place, "type"), f"must not be given twice, as in {first}: {reason}"


def _http(configuration: Configuration) -> Found:
    http = configuration.http
    for kind, name, part in configuration.parts():
        if isinstance(part, HttpSourceConfig):
            if http is None:
                message = 'needs the address to listen on: http = { listen = "127.0.0.1:8490" }'
                yield (f"{kind}s", name, "type"), message
            elif http.tokens_file is None and not _is_loopback(http.listen):
                yield (
                    ("http", "tokens_file"),
                    f"is missing: every host that reaches {http.listen} could send events",
                )


ANY_ADDRESS = {"0.0.0.0", "[::]", "localhost"}  # noqa: S104 - compared, and not used
"""Hosts that stand for several addresses, so that they may include another host."""


def _web(configuration: Configuration, without: Collection[Location]) -> Found:
    web, http = configuration.web, configuration.http
    if web is None:
        return
    faulty = {place[1] for place in without if place[0] == "web"}
    given = web.model_fields_set | faulty
    if ("tokens_file" in given) == ("authenticate" in given):
        yield ("web",), "must have either tokens_file or authenticate, which give clients access"
    if web.key is not None and "certificate" not in given:
        yield ("web", "key"), "must not be given without certificate"
    has_tls = "certificate" in given or web.behind_proxy or "behind_proxy" in faulty
    if not has_tls and not _is_loopback(web.listen):
        message = (
            f"must be a loopback address, got {shown(web.listen)}: without TLS, tokens can be read "
            "on the network; give certificate, or behind_proxy = true"
        )
        yield ("web", "listen"), message
    if http is not None and "listen" not in faulty and _overlap(http.listen, web.listen):
        message = (
            f"must be {shown(http.listen)}, as http.listen, for one server of both, or have "
            f"another port, got {shown(web.listen)}"
        )
        yield ("web", "listen"), message


def _overlap(one: str, other: str) -> bool:
    """Return whether two texts that differ may stand for one address."""
    hosts = [each.rpartition(":") for each in (one, other)]
    same_port = hosts[0][2] == hosts[1][2] != "0"
    return same_port and one != other and any(host in ANY_ADDRESS for host, _, _ in hosts)


def _certificate(web: WebConfig) -> Found:
    """Yield why the certificate cannot be used."""
    if web.certificate is None:
        return
    faults = list(_readable(("web", "certificate"), web.certificate))
    if web.key is not None:
        faults += _readable(("web", "key"), web.key)
    yield from faults
    if faults:
        return
    import ssl  # noqa: PLC0415 - loads OpenSSL

    try:
        # An empty password: OpenSSL would otherwise read one from the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            web.certificate, web.key, password=lambda: ""
        )
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or "it has no certificate and key in PEM form"
        yield ("web", "certificate"), f"cannot be used: {reason}"


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.")


def _accounts(configuration: Configuration) -> Found:
    accounts = configuration.app.accounts
    if accounts is None:
        return
    if (accounts.file is None) == (accounts.callable is None):
        yield ("app", "accounts"), "must have either file or callable"


def _readable(place: Location, path: Path) -> Found:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as exc:
        yield place, f"the file {path} cannot be read: {exc.strerror or exc}"


def _sink(place: Location, sink: SinkConfig) -> Found:
    if not sink.durable and sink.start == "oldest":
        yield (*place, "start"), 'must be "now" if durable = false: a queue has no older events'
    retry = getattr(sink, "retry", None)
    if isinstance(retry, RetryConfig):
        if retry.base > retry.cap:
            least = duration_text(retry.base)
            yield (*place, "retry", "cap"), f"must be at least retry.base = {least}"
        if retry.give_up_after is not None and not sink.durable:
            yield (*place, "retry", "give_up_after"), "must not be given if durable = false"
    form = getattr(sink, "format", None)
    if isinstance(sink, FileSinkConfig | StdoutSinkConfig):
        if isinstance(form, KazooFormat) and form.pretty:
            yield (*place, "format", "pretty"), "must be false: one event is one line of the file"
        if isinstance(form, CloudEventsFormat) and form.mode == "binary":
            yield (*place, "format", "mode"), 'must be "structured": a file has no headers'
    if isinstance(sink, HttpSinkConfig):
        yield from _http_sink(place, sink)


def _http_sink(place: Location, sink: HttpSinkConfig) -> Found:
    form = sink.format
    if isinstance(form, CloudEventsFormat) and form.mode == "binary" and sink.batch.events != 1:
        yield (*place, "format", "mode"), 'must be "structured", or batch.events must be 1'
    if isinstance(form, KazooFormat) and form.pretty and form.lines:
        yield (*place, "format", "lines"), "must be false if pretty is true"
    if sink.tls is not None and (sink.tls.certificate is None) != (sink.tls.key is None):
        yield (*place, "tls"), "must have both certificate and key, or neither"


def _link(place: Location, link: LinkConfig) -> Found:
    if not link.send and not link.receive:
        yield place, "must have send or receive: the link has nothing to do"
    if isinstance(link, RabbitLinkConfig) and link.queue is not None:
        if not link.receive:
            yield (*place, "queue"), "must not be given without receive"
        elif link.receive == "wanted":
            message = (
                'must be bindings if queue is given, got "wanted": the queue is filled also while '
                "the application is stopped"
            )
            yield (*place, "receive"), message


def _secrets(configuration: Configuration, secrets: Secrets, *, given: bool) -> Found:
    """Yield the faults of the secrets that a Kazoo document contains, or of all others."""
    for kind, name, part in configuration.parts():
        for inner, secret in secrets_in(part):
            if (secret.given is not None) != given:
                continue
            place = (f"{kind}s", name, *inner)
            try:
                value = secrets.text(secret)
            except SecretError as exc:
                yield place, str(exc)
                continue
            if inner[0] == "sign" and (fault := _fault_of_signing(value)):
                yield place, fault
            if inner[0] == "headers" and not value.isprintable():
                yield place, "the secret must be one line of printable text"
            if fault := _fault_of_url(part, inner, value):
                yield place, f"the secret {fault}"
            if inner == ("url",) and isinstance(part, HttpSinkConfig):
                yield from _two_logins((f"{kind}s", name, "headers"), part, value)


def _two_logins(place: Location, sink: HttpSinkConfig, url: str) -> Found:
    for header in sink.headers:
        if header.lower() == "authorization" and "@" in url.partition("//")[2].partition("/")[0]:
            yield (*place, header), "must not be given if the URL has a user name and a password"


def _fault_of_signing(value: str) -> str | None:
    try:
        Signer(value)
    except ValueError as exc:
        return f"the {exc}"  # it does not show the secret
    return None


def _fault_of_url(part: Section, inner: Location, value: str) -> str | None:
    for metadata in type(part).model_fields["url"].metadata if inner == ("url",) else ():
        if isinstance(metadata, Url):
            return check_url(value, metadata.schemes)
    return None
