"""``make_application``: bus, journal, servers and parts of a configuration."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from edr.app.accounts import accounts_of
from edr.app.application import Application, Server
from edr.app.config import (
    Configuration,
    ConfigurationError,
    Fault,
    HttpConfig,
    Secrets,
    WebConfig,
)
from edr.app.factory import PartFactory
from edr.bus import Bus
from edr.control import Exposed, expose
from edr.journal import SqliteJournal
from edr.sources import Tokens, TokensError


class ControlServer:
    """The control socket of the application.

    Args:
        application: is shown.
        reload: called for ``edr reload``.
    """

    def __init__(self, application: Application, reload: Callable[[], Awaitable[object]]) -> None:
        self._application = application
        self._reload = reload
        self._exposed: Exposed | None = None

    async def start(self) -> None:
        """Open the socket.

        Raises:
            SocketPathError: the socket cannot be made, or its folder is not safe.
        """
        configuration = self._application.configuration
        control = configuration.control
        self._exposed = await expose(
            self._application.bus,
            name=configuration.app.name,
            allow=control.allow,
            parts=self._application.shown_parts,
            path=control.path,
            mode=control.mode,
            reload=self._reload,
        )

    async def aclose(self) -> None:
        """Leave the socket to the bus, which closes it at its end: the stop can be watched."""


def make_bus(configuration: Configuration) -> Bus:
    """Return the bus of the application, with its journal. Nothing is opened.

    Raises:
        ConfigurationError: the accounts cannot be used.
    """
    app, journal = configuration.app, configuration.journal
    accounts = app.accounts
    options: dict[str, Any] = {}
    if accounts is not None:
        options = {"accounts_ttl": accounts.ttl, "accounts_timeout": accounts.timeout}
    sync: Any = journal.sync
    return Bus(
        node=app.node or socket.gethostname(),
        accounts=accounts_of(accounts),
        journal=SqliteJournal(
            app.data_dir / "journal",
            *configuration.stored_bindings(),
            max_bytes=journal.max_bytes,
            max_age=None if journal.max_age is None else timedelta(seconds=journal.max_age),
            keep_unread=journal.full == "block",
            sync=sync,
            linger=journal.linger,
        ),
        **options,
    )


def make_application(
    configuration: Configuration,
    *,
    reload: Callable[[], Awaitable[object]],
    secrets: Secrets | None = None,
) -> Application:
    """Return the application of a checked configuration. Nothing is opened or started.

    Args:
        configuration: the configuration.
        reload: called for ``edr reload``; its result is printed.
        secrets: the values of the secrets; by default they are read from the environment.

    Raises:
        ConfigurationError: the accounts cannot be used.
    """
    configuration.app.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    bus = make_bus(configuration)
    http, web = configuration.http, configuration.web
    tokens = None if http is None else _tokens_of(http)
    factory = PartFactory(bus, configuration.app.data_dir, tokens)
    application = Application(configuration, bus, factory, secrets=secrets)
    if http is not None:
        server = _http_server(application, configuration, http, factory, tokens)
        application.add_server(server, is_early=True)
    if web is not None and not _share_a_server(http, web):
        application.add_server(_web_server(web, factory))
    if configuration.control.enabled:
        application.add_server(ControlServer(application, reload))
    return application


def _tokens_of(configuration: HttpConfig) -> Tokens | None:
    if configuration.tokens_file is None:
        return None
    try:
        return Tokens(configuration.tokens_file)
    except TokensError as exc:
        faults = [Fault("http.tokens_file", None, str(exc))]
        raise ConfigurationError("the configuration", faults) from exc


def _share_a_server(http: HttpConfig | None, web: WebConfig | None) -> bool:
    """Return whether one server has both: with the same text, and not only the same address."""
    return http is not None and web is not None and http.listen == web.listen


def _http_server(
    application: Application,
    configuration: Configuration,
    http: HttpConfig,
    factory: PartFactory,
    tokens: Tokens | None,
) -> Server:
    servers = _servers("http")

    def may_read_metrics(authorization: str) -> bool:
        token = None if tokens is None else tokens.find_bearer(authorization)
        return tokens is None or (token is not None and "metrics" in token.rights)

    web = configuration.web
    if web is None or not _share_a_server(http, web):
        shared: dict[str, Any] = {}
    else:
        shared = {"web": lambda: factory.gateway, "network": servers.network_of(web)}
    server: Server = servers.HttpServer(
        application,
        http.listen,
        ingest=lambda: factory.http_ingest,
        may_read_metrics=may_read_metrics,
        **shared,
    )
    return server


def _web_server(configuration: WebConfig, factory: PartFactory) -> Server:
    server: Server = _servers("web").WebServer(lambda: factory.gateway, configuration)
    return server


def _servers(section: str) -> Any:
    """Return the module of the servers.

    Raises:
        ConfigurationError: the extra ``web`` is not installed.
    """
    try:
        from edr.app import server  # noqa: PLC0415 - needs starlette and uvicorn
    except ImportError as exc:
        message = "needs the extra 'web': pip install 'edr[web]'"
        raise ConfigurationError("the configuration", [Fault(section, None, message)]) from exc
    return server
