"""``HttpSink``: sends each batch in one request to an HTTP receiver.

``http_answers`` has the table of the responses. The receiver is on another machine and may do
anything, so the sink limits what it reads: the size of the headers, 64 KiB and 2 seconds of the
body. It does not decompress, does not keep cookies, and does not follow redirects, because another
host would get the events and the credentials.

**What counts as delivered** is the status code. A body of a 2xx response that is too long, or that
does not end, costs the connection and not the delivery.

**Secrets.** The URL and the headers contain some. No error, log line or ``repr`` shows them: an
error names its kind, and never the text of the client library, which contains URLs.

Cost: about 0.2 ms of CPU for a request, nearly all in aiohttp.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlsplit

try:
    import aiohttp
    from yarl import URL
except ModuleNotFoundError as _missing:
    raise ImportError("HTTP sinks need aiohttp: install edr with its extra 'http'") from _missing

from edr.records import Event
from edr.sinks.encoding import Encoded
from edr.sinks.errors import RejectError, RetryError
from edr.sinks.http_answers import failure_of
from edr.sinks.http_excerpt import Excerpts
from edr.sinks.signing import Signer

if TYPE_CHECKING:
    import ssl

METHODS = ("post", "put", "patch")

MAX_BODY = 64 * 1024
"""Bytes of a response's body that are read. A longer one costs the connection."""

BODY_TIMEOUT = 2.0
"""Seconds for the body, after the status. It is read only to use the connection again, and for the
text of an error."""

KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept. Common servers close it after 5 s, and a request that
meets that would have to be repeated."""

MAX_LINE = 8190
"""Bytes of one line of a response's header."""

MAX_HEADERS = 128
"""Header lines of a response."""

LARGE = 2**20
"""Bytes from which aiohttp demands a file as the body, so that it writes in parts."""

MAX_ID = 200
"""Characters of ``webhook-id``; a longer one becomes a hash."""

_OWN = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
}
"""Headers that the sink or the protocol sets."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")

_Failure: TypeAlias = RetryError | RejectError


class HttpSink:
    """Delivers each batch by one HTTP request. A ``Sink``: see ``SinkWorker``.

    Each request has the headers ``webhook-id`` and, with the same value, ``Idempotency-Key``: the
    id of the event, or ``NAME-FIRST-LAST`` with the ids of the first and the last event of a batch.
    A repeated batch has the same id, but after a restart the boundaries may differ. So receivers
    identify events by their ids.

    Args:
        url: ``http://`` or ``https://``, with a user and password where necessary.
        name: the name of the sink, for ``webhook-id``.
        encode: returns a batch as the body of a request; see ``Encoder``.
        method: ``post``, ``put`` or ``patch``.
        headers: further headers. A ``Content-Type`` replaces the one of the format.
        signer: signs each attempt as Standard Webhooks defines it; ``None`` for no signature.
        timeout: seconds for a request, from the connection to the response.
        connect_timeout: seconds for a new connection, within ``timeout``.
        tls: certificates to trust, and of the client; by default those of the system.

    Raises:
        ValueError: an argument is not valid. The message shows neither the URL nor a header's
            value.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        encode: Callable[[Sequence[Event]], Encoded],
        method: str = "post",
        headers: Mapping[str, str] | None = None,
        signer: Signer | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address: str = _address_of(url)
        """Scheme, host and port: what may be shown of the URL."""
        if method.lower() not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        for what, seconds in (("timeout", timeout), ("connect_timeout", connect_timeout)):
            if not seconds > 0:
                raise ValueError(f"{what} must be more than 0 seconds, got {seconds}")
        self._headers = _checked(headers or {})
        if "@" in urlsplit(url).netloc and _has(self._headers, "authorization"):
            raise ValueError(
                "the URL has a user name, and the headers have Authorization: give one"
            )
        self._url = URL(url)
        self._name = name
        self._encode = encode
        self._method = method.upper()
        self._signer = signer
        self._timeout = timeout
        self._connect_timeout = min(connect_timeout, timeout)
        self._tls = tls
        self._excerpts = Excerpts(url, self._headers)
        self._sets_content_type = not _has(self._headers, "content-type")
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<HttpSink {self._name!r} {self._method} {self.address}>"

    async def open(self) -> None:
        """Make a session. Connections are made by requests."""
        await self.aclose()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=1,
                keepalive_timeout=KEEP_ALIVE,
                ssl=True if self._tls is None else self._tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=self._connect_timeout),
            headers={"Accept-Encoding": "identity", "User-Agent": _user_agent(), **self._headers},
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
        )

    async def write(self, batch: Sequence[Event]) -> None:
        """Send ``batch`` in one request. Cancellation: the request ends; it may have arrived.

        Raises:
            RetryError: it was not delivered now, or that is not known.
            RejectError: the receiver will never accept it.
        """
        encoded = self._encode(batch)
        message_id = self._id_of(batch)
        headers = {**encoded.headers, "webhook-id": message_id, "Idempotency-Key": message_id}
        if self._sets_content_type:
            headers["Content-Type"] = encoded.content_type
        if self._signer is not None:
            headers |= self._signer.headers(message_id, encoded.data)
        failure = await self._request(encoded.data, headers)
        if failure is not None:  # raised here, so that no exception of the client is chained to it
            raise failure

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _request(self, data: bytes, headers: Mapping[str, str]) -> _Failure | None:
        assert self._session is not None, "open() comes first"
        try:
            response = await self._session.request(
                self._method,
                self._url,
                data=data if len(data) < LARGE else io.BytesIO(data),
                headers=headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return self._failure_to_send(exc)
        details = ""
        if response.content.at_eof():
            response.release()
        else:
            details = await self._finish(response)
        return failure_of(response.status, response.headers.get("Retry-After"), details)

    async def _finish(self, response: aiohttp.ClientResponse) -> str:
        """Read the body, and return the begin of it if the response is an error."""
        try:
            body = await _body_of(response)
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()
        return "" if body is None or response.ok else self._excerpts.of(body)

    def _failure_to_send(self, exc: Exception) -> RetryError:
        """Return the failure of a request without a response. The text of ``exc`` has secrets."""
        if isinstance(exc, aiohttp.ClientConnectorCertificateError):
            reason = getattr(exc.certificate_error, "verify_message", "it is not valid")
            words = f"the certificate of {self.address} is not accepted: {reason}"
            return RetryError(words, slow=True)  # a person must repair it
        return RetryError(self._reason_of(exc))

    def _reason_of(self, exc: Exception) -> str:
        if isinstance(exc, aiohttp.ConnectionTimeoutError):
            return f"{self.address} accepted no connection within {self._connect_timeout:g} s"
        if isinstance(exc, TimeoutError):
            return f"{self.address} did not respond within {self._timeout:g} s"
        if isinstance(exc, aiohttp.ClientConnectorDNSError):
            return f"the host name of {self.address} cannot be resolved"
        if isinstance(exc, aiohttp.ClientSSLError):
            return f"the TLS handshake with {self.address} failed"
        if isinstance(exc, aiohttp.ClientConnectorError):
            return (
                f"{self.address} is not reachable: {exc.os_error.strerror or 'connection failed'}"
            )
        if isinstance(exc, aiohttp.ClientResponseError):  # with status 400, but it is not a 400
            return f"{self.address} sent a malformed response"
        if isinstance(exc, aiohttp.ServerDisconnectedError):
            return f"{self.address} closed the connection without a response"
        if isinstance(exc, OSError):
            return f"the connection to {self.address} was lost: {exc.strerror or 'no reason'}"
        return f"the request to {self.address} failed: {type(exc).__name__}"

    def _id_of(self, batch: Sequence[Event]) -> str:
        first, last = batch[0].id, batch[-1].id
        text = first if len(batch) == 1 else f"{self._name}-{first}-{last}"
        quoted = text if _PLAIN.fullmatch(text) else quote(text, safe=_PRINTABLE)
        if len(quoted) <= MAX_ID:
            return quoted
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=32).hexdigest()


async def _body_of(response: aiohttp.ClientResponse) -> bytes | None:
    """Return at most ``MAX_BODY`` bytes; ``None`` if they did not come in time."""
    body = bytearray()
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(BODY_TIMEOUT):
            while len(body) < MAX_BODY:
                chunk = await response.content.read(MAX_BODY - len(body))
                if not chunk:
                    break
                body += chunk
            return bytes(body)
    return None


def _user_agent() -> str:
    from edr import __version__  # noqa: PLC0415 - the facade is not loaded before this package

    return f"edr/{__version__}"


def _address_of(url: str) -> str:
    parts, fault = None, "text"
    with suppress(ValueError):
        parts = urlsplit(url)
        fault = "another scheme" if parts.scheme else "one without a scheme"
        if parts.scheme in {"http", "https"} and parts.hostname and url.isprintable():
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            if "@" not in parts.path + parts.query + parts.fragment or "@" in parts.netloc:
                return f"{parts.scheme}://{host}:{port}"
        if parts.scheme in {"http", "https"}:
            fault = "one whose host is missing or cannot be parsed"
    # Raised here: urllib's own errors show parts of the URL.
    raise ValueError(f"url must be http://host or https://host, got {fault}")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    names: set[str] = set()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"the name of a header must be an HTTP token, got {name!r}")
        if name.lower() in _OWN:
            raise ValueError(f"the header {name} must not be given: the sink sets it")
        if name.lower() in names:
            raise ValueError(f"the header {name} must be given once")
        names.add(name.lower())
        if not value.isprintable():
            raise ValueError(f"the value of the header {name} must be one line of printable text")
    return dict(headers)


def _has(headers: Mapping[str, str], name: str) -> bool:
    return any(each.lower() == name for each in headers)
