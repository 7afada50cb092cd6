"""``Access``: decides from the headers of a connection who the client is, and whether it is served.

The token is in the header ``Authorization: Bearer TOKEN``, or in the cookie ``edr`` if a browser
says that the request comes from a permitted page. Otherwise a ticket is in the URL, as
``?ticket=…``. A token in a URL is refused, even next to a valid header, because URLs are stored in
logs.
"""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection

from edr.web.authentication import MAX_TOKEN, Authentication, Identity
from edr.web.origins import Origins
from edr.web.peer import Peer, Transport
from edr.web.refusals import RefusedError
from edr.web.tickets import Tickets

COOKIE = "edr"
"""The name of the cookie."""

MAX_HEADERS = 32 * 1024
"""Bytes of all headers of a request."""

MAX_QUERY = 8 * 1024
"""Bytes of a query. For more, a client sends the request as a body."""

_NAMES = (
    "token accesstoken authtoken idtoken bearer bearertoken authorization auth apikey jwt password "
    "secret session sessionid cookie edr"
)
SECRET_NAMES = frozenset(_NAMES.split(" "))
"""Names of parameters that may have a token, in lower case and without ``_`` and ``-``."""

_SINGLE = (b"authorization", b"host", b"origin", b"sec-fetch-site")
"""Headers that decide who is served. A proxy may have checked another one of two."""

_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)


class Access:
    """Checks and identifies connections.

    Args:
        authentication: calls the authenticator.
        tickets: the tickets that are not used yet.
        origins: checks the hosts and the origins.
    """

    def __init__(self, authentication: Authentication, tickets: Tickets, origins: Origins) -> None:
        self.authentication: Authentication = authentication
        self.tickets: Tickets = tickets
        self.origins: Origins = origins

    def check(self, connection: HTTPConnection, *, is_page: bool = False) -> None:
        """Raise unless a connection may be served. Nothing is authenticated yet.

        Call it first. It removes the query from the scope, so that the access log of a server does
        not have the ticket. ``connection.query_params`` still has it.

        Args:
            connection: a request, or the handshake of a WebSocket.
            is_page: whether it is for a file of the viewer, to which any page may link.

        Raises:
            RefusedError: 413, 431, 421, 400 (a token in the URL, or a header twice) or 403 (another
                site).
        """
        query = connection.query_params
        query_size = len(connection.scope["query_string"])
        connection.scope["query_string"] = b""
        if query_size > MAX_QUERY:
            raise RefusedError(
                "too_large",
                f"the query must have at most {MAX_QUERY:,} bytes; send a POST with a body",
            )
        size = sum(len(name) + len(value) for name, value in connection.scope["headers"])
        if size > MAX_HEADERS:
            raise RefusedError(
                "headers_too_large",
                f"the headers must have at most {MAX_HEADERS:,} bytes, got {size:,}",
            )
        names = [name for name, _ in connection.scope["headers"]]
        for single in _SINGLE:
            if names.count(single) > 1:
                raise RefusedError(
                    "invalid_request", f"the header {single.decode()} must be sent once"
                )
        if b"content-length" in names and b"transfer-encoding" in names:
            raise RefusedError(
                "invalid_request",
                "a body must have one length",  # a proxy may have used the other one
                headers={"Connection": "close"},
            )
        self.origins.check_host(connection)
        for name in query:
            if re.sub("[_-]", "", name.lower()) in SECRET_NAMES:
                raise RefusedError(
                    "token_in_url",
                    "a token must not be in a URL, which logs store; send it as a header "
                    "(Authorization: Bearer TOKEN), or use POST /ticket and ?ticket=",
                )
        if not is_page:
            self.origins.check_origin(connection)

    def peer_of(self, connection: HTTPConnection, transport: Transport) -> Peer:
        """Return the peer of a connection."""
        client = connection.client
        address = "" if client is None else client.host
        return Peer(address, connection.headers.get("origin"), transport)

    def token_of(self, connection: HTTPConnection) -> str | None:
        """Return the token in the header or in the cookie; ``None`` without one.

        Raises:
            RefusedError: the header has another form, 401.
        """
        header = connection.headers.get("authorization")
        if header is not None:
            match = _BEARER.fullmatch(header.strip())
            if match is None or len(match[1]) > MAX_TOKEN:
                raise RefusedError(
                    "not_authenticated", "Authorization must be: Bearer TOKEN, in ASCII"
                )
            return match[1]
        if self.origins.is_own(connection):
            return connection.cookies.get(COOKIE) or None
        return None

    def has_credentials(self, connection: HTTPConnection) -> bool:
        """Return whether ``identify`` has a token or a ticket to check.

        Raises:
            RefusedError: the header has another form, 401.
        """
        return self.token_of(connection) is not None or "ticket" in connection.query_params

    async def identify(self, connection: HTTPConnection, peer: Peer) -> Identity:
        """Return the identity of a client, from its token or its ticket.

        Raises:
            RefusedError: 401 if it has none that is valid; 503 if the authenticator failed.
        """
        token = self.token_of(connection)
        ticket = connection.query_params.get("ticket")
        if token is not None or ticket is None:
            return await self.authentication.identify(token, peer)
        identity = self.tickets.redeem(ticket)
        if identity is None or self.authentication.seconds_left(identity.grant) <= 0:
            raise RefusedError(
                "not_authenticated",
                "the ticket is not valid: it was used, is older than 30 s, or is of another "
                "process; get a new one by POST /ticket",
            )
        return identity
