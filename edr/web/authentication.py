"""``Authentication``: calls the authenticator of the program, and renews grants.

An authenticator is code of the program. It may hang, raise, or return a wrong value. Then new
clients are refused with 503, and streams that run continue until their grants expire. It runs in a
task of its own. If that does not end when it is cancelled, it is not waited for.

An exception of an authenticator may contain the token in its text. Only its type and its place in
the code are logged.

A grant is renewed every minute and when it expires. If the token then gives no grant, or the grant
of another account, the stream ends. So a revoked token is valid for a minute at most.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

from edr._util.log import RateLimitedLog
from edr.streams import Grant
from edr.web.peer import Peer
from edr.web.refusals import RefusedError

Authenticate: TypeAlias = Callable[[str | None, Peer], Grant | Awaitable[Grant | None] | None]
"""Returns the grant of a token, or ``None`` to refuse the client. The token is ``None`` if the
client sent none. It is called in the loop; one that is not ``async`` must not block."""

TIMEOUT = 5.0
"""Seconds for the authenticator. A client that connects does not wait for longer."""

MAX_TOKEN = 8 * 1024
"""Characters of a token."""

RENEWAL_INTERVAL = 60.0
"""Seconds between two calls of the authenticator for one stream."""

MIN_INTERVAL = 1.0
"""Seconds. An authenticator that always returns grants that expire at once is not called more
often."""


_TOKEN = re.compile(r"[\x21-\x7e]+")


def is_token(text: str) -> bool:
    """Return whether ``text`` can be a token: visible ASCII characters, at most ``MAX_TOKEN``.

    Otherwise it is refused without the authenticator. Functions that compare or log tokens fail
    with other characters, and anyone can send these.
    """
    return len(text) <= MAX_TOKEN and _TOKEN.fullmatch(text) is not None


class Identity:
    """The grant of a client, and its token. The token is not in its text."""

    __slots__ = ("grant", "token")

    def __init__(self, grant: Grant, token: str | None) -> None:
        self.grant: Grant = grant
        self.token: str | None = token

    def __repr__(self) -> str:
        return f"<Identity {self.grant!r}>"


class Authentication:
    """Calls an authenticator, with a time limit.

    Args:
        authenticate: the authenticator.
        timeout: seconds for one call.
        clock: returns the current time, with a UTC offset.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        timeout: float = TIMEOUT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not callable(authenticate):
            raise TypeError(f"authenticate must be callable, got {authenticate!r}")
        self._authenticate = authenticate
        self._timeout = timeout
        self._clock = clock
        self._log = RateLimitedLog()
        self._calls: set[asyncio.Future[Any]] = set()
        self._renewals: dict[Renewal, None] = {}

    async def renew(self) -> None:
        """Call the authenticator for each stream that runs now. Return when all have answered.

        A stream whose grant has ended ends.
        """
        calls = [renewal.renew() for renewal in self._renewals]
        if calls:
            await asyncio.wait(calls)

    def add(self, renewal: Renewal) -> None:
        """Include a stream in ``renew``, for ``Renewal``."""
        self._renewals[renewal] = None

    def discard(self, renewal: Renewal) -> None:
        """Leave a stream out of ``renew``, for ``Renewal``. Idempotent."""
        self._renewals.pop(renewal, None)

    async def identify(self, token: str | None, peer: Peer) -> Identity:
        """Return the identity of a client that connects.

        Raises:
            RefusedError: 401 without a grant that is valid now; 503 if the authenticator
                failed or took too long.
        """
        grant = await self.grant_of(token, peer)
        if grant is None:
            given = "the token is not valid" if token else "a token is required"
            raise RefusedError(
                "not_authenticated", f"{given}; send it as Authorization: Bearer TOKEN"
            )
        return Identity(grant, token)

    async def grant_of(self, token: str | None, peer: Peer) -> Grant | None:
        """Return the grant of a token; ``None`` if it has none, or one that has expired.

        Raises:
            RefusedError: 503; see ``identify``.
        """
        if token is not None and not is_token(token):
            return None
        try:
            grant: object = self._authenticate(token, peer)
        except (Exception, asyncio.CancelledError) as exc:  # of the program
            raise self._failed(f"raised {_place_of(exc)}") from None
        if inspect.isawaitable(grant):
            grant = await self._result_of(grant)
        if grant is None:
            return None
        if not isinstance(grant, Grant):
            raise self._failed(f"must return a Grant or None, got {type(grant).__name__}")
        if not _is_time(grant.expires):
            raise self._failed("returned a grant whose expires is not a time with a UTC offset")
        return None if self.seconds_left(grant) <= 0 else grant

    async def _result_of(self, answer: Awaitable[object]) -> object:
        """Return what an authenticator returns.

        It has a task of its own: it may ignore a cancellation, or end by one that is not of this
        task.
        """
        call = asyncio.ensure_future(answer)
        self._calls.add(call)
        call.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait([call], timeout=self._timeout)
        finally:
            call.cancel()
        if not done:
            raise self._failed(f"took more than {self._timeout:g} s")
        if call.cancelled():
            raise self._failed("was cancelled")
        fault = call.exception()
        if fault is not None:
            raise self._failed(f"raised {_place_of(fault)}")
        return call.result()

    def _ended(self, call: asyncio.Future[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # otherwise asyncio logs it, with its text

    def seconds_left(self, grant: Grant) -> float:
        """Return the seconds until ``grant`` expires; infinity if it does not expire."""
        if grant.expires is None:
            return float("inf")
        return (grant.expires - self._clock()).total_seconds()

    def _failed(self, fault: str) -> RefusedError:
        self._log.log(logging.ERROR, "authenticate", "the authenticator of a gateway %s", fault)
        return RefusedError("authenticator_failed", "clients cannot be authenticated now")


class Renewal:
    """Renews the grant of one stream. It has a timer, and a task only during a call.

    Args:
        authentication: calls the authenticator.
        identity: the client; its ``grant`` is replaced by an equal one with a later ``expires``.
        peer: the client.
        on_end: called once, when the grant has ended.
        interval: seconds between two calls.
    """

    def __init__(
        self,
        authentication: Authentication,
        identity: Identity,
        peer: Peer,
        on_end: Callable[[], object],
        *,
        interval: float = RENEWAL_INTERVAL,
    ) -> None:
        self._authentication = authentication
        self._identity = identity
        self._peer = peer
        self._on_end = on_end
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._call: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._authentication.add(self)
        self._set_timer(0.0)

    def renew(self) -> asyncio.Task[None]:
        """Renew the grant now, and return the task. A call that runs may have an old answer."""
        self._stop()
        return self._begin()

    def close(self) -> None:
        """Stop. Idempotent."""
        self._authentication.discard(self)
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._call.cancel()

    def _set_timer(self, min_delay: float) -> None:
        left = self._authentication.seconds_left(self._identity.grant)
        # Clients that connected together are not renewed together.
        due = self._interval * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        delay = max(min(left, due), min_delay)
        self._timer = asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> asyncio.Task[None]:
        self._call = asyncio.get_running_loop().create_task(self._renew())
        return self._call

    async def _renew(self) -> None:
        identity = self._identity
        try:
            grant = await self._authentication.grant_of(identity.token, self._peer)
        except RefusedError:  # it failed; the stream continues until the grant expires
            if self._authentication.seconds_left(identity.grant) <= 0:
                self._on_end()
                return
            grant = identity.grant
        if grant is None or grant != identity.grant:
            self._on_end()
            return
        identity.grant = grant
        self._set_timer(MIN_INTERVAL)


def _is_time(expires: object) -> bool:
    if expires is None:
        return True
    return isinstance(expires, datetime) and expires.utcoffset() is not None


def _place_of(exc: BaseException) -> str:
    """Return the type and the place of ``exc``, without its text, which may contain a token."""
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(exc).__name__
    code = traceback.tb_frame.f_code
    return f"{type(exc).__name__} in {code.co_qualname} ({code.co_filename}:{traceback.tb_lineno})"
