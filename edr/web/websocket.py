"""``serve``: one client of the WebSocket, from the handshake to the close code.

A session has two tasks. One reads the requests and makes the answers. The other writes: answers
first, then heartbeats, then events. Requests are handled in one step each. So an answer is before
all events that come from it, and after all events that were taken before it.

The client is written to by one task, and events are taken when they are written. So a client that
does not read holds no more than one frame, and its requests are not read when too many answers
wait.

A client may send anything. A frame that is not JSON, or one frame too many, ends the connection
with a close code. Every other fault is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from edr._util.wakeup import wake
from edr.errors import BusClosedError
from edr.journal import JournalError
from edr.streams import Place
from edr.web import frames
from edr.web.authentication import Identity, Renewal
from edr.web.channel import Channel, DisconnectedError
from edr.web.clients import Client, SlowClientError
from edr.web.context import Context
from edr.web.explaining import Explaining
from edr.web.frame_rate import FrameRate
from edr.web.frames import ERRORS, NotJSONError, RequestError
from edr.web.limits import Seat
from edr.web.merging import Delivery, Gap, Merging
from edr.web.peer import Peer
from edr.web.refusals import RefusedError

HELLO_TIMEOUT = 5.0
"""Seconds for a client without a token in a header to send its ``hello``."""

FRAMES_PER_SECOND = 20.0
"""Frames that a client may send in a second, on average."""

BURST = 40.0
"""Frames that a client may send at once. They may have waited in the network for a second."""

MAX_ANSWERS = 32
"""Answers that wait to be written. With more, no request is read."""

MAX_ANSWER = 2**20
"""Characters of an answer to ``explain``."""

AT_INTERVAL = 15.0
"""Seconds after which subscriptions receive their cursor on a connection that is never idle. The
cursor of a rare filter next to a busy one would expire."""

TURN = 16 * 1024
"""Characters of a frame after which other tasks run, before the next frame of the same client."""

MAX_IDS_JSON = 256
"""Sets of subscriptions whose ids are kept as JSON. Of 16 subscriptions there are 65,535 sets."""

CLOSE_CODES: Mapping[str, int] = {
    "stopping": 1001,
    "not_json": 1008,
    "too_many_frames": 1008,
    "too_large": 1009,
    "failed": 1011,
    "slow": 1013,
    "too_many_clients": 1013,
    "authenticator_failed": 1013,
    "not_authenticated": 4401,
    "grant": 4403,
    "no_hello": 4408,
}
"""Why the gateway closes a connection -> the close code."""

WITH_BYE = frozenset({"stopping", "grant"})
"""Reasons that are sent in a frame ``bye`` too."""


HELLO_REQUIRED = RequestError("hello_required", 'send {"do":"hello","token":"…"} first', "do")
"""The answer to another first request."""


class _ClosedError(Exception):
    """The connection ends for a reason of ``CLOSE_CODES``, before the session begins."""


async def serve(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one client until one side closes the connection."""
    connection = HTTPConnection(scope)
    channel = Channel(receive, send)
    try:
        context.check_running()
        context.access.check(connection)
    except RefusedError as refusal:
        context.refused[refusal.code] += 1
        await channel.refuse(scope, refusal)
        return
    peer = context.access.peer_of(connection, "websocket")
    try:
        await channel.accept()
        with context.counts.enter(peer.address) as seat:
            identity = await _identity(context, channel, connection, peer)
            del connection  # it takes 2 KiB, and a session may last for days
            seat.take_account(identity.grant.account)
            context.check_running()
            await Session(context, channel, identity, peer, seat).run()
    except RefusedError as refusal:
        context.refused[refusal.code] += 1
        await channel.close(CLOSE_CODES[refusal.code], refusal.code)
    except _ClosedError as closed:
        (reason,) = closed.args
        context.refused[reason] += 1
        await channel.close(CLOSE_CODES[reason], reason)
    except DisconnectedError:
        pass


async def _identity(
    context: Context, channel: Channel, connection: HTTPConnection, peer: Peer
) -> Identity:
    """Return who the client is, from its headers or from its first frame."""
    if context.access.has_credentials(connection):
        return await context.access.identify(connection, peer)
    rate = _new_rate()
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            while True:
                frame = _frame_of(await channel.receive(), rate, context.limits.frame)
                error = HELLO_REQUIRED
                try:
                    request = frames.read_request(frame)
                    if isinstance(request, frames.Hello):
                        break
                except RequestError as exc:
                    error = exc
                await channel.send(frames.error(error, frame))
    except TimeoutError:
        raise _ClosedError("no_hello") from None
    return await context.access.authentication.identify(request.token, peer)


def _new_rate() -> FrameRate:
    return FrameRate(FRAMES_PER_SECOND, BURST, clock=asyncio.get_running_loop().time)


def _frame_of(text: str | bytes, rate: FrameRate, max_size: int) -> Mapping[str, Any]:
    """Return the object of a frame.

    Raises:
        _ClosedError: it ends the connection.
    """
    if not rate.allows():
        raise _ClosedError("too_many_frames")
    if isinstance(text, str) and not text.isascii():
        text = text.encode(errors="replace")
    if len(text) > max_size:
        raise _ClosedError("too_large")
    try:
        return frames.read_object(text)
    except NotJSONError:
        raise _ClosedError("not_json") from None


class Session:
    """An authenticated client.

    Args:
        context: the gateway.
        channel: the connection, whose handshake is complete.
        identity: the client.
        peer: its address.
        seat: counts it.
    """

    def __init__(
        self, context: Context, channel: Channel, identity: Identity, peer: Peer, seat: Seat
    ) -> None:
        self._context = context
        self._channel = channel
        self._identity = identity
        self._client: Client = context.clients.add(identity, peer, seat, self._places)
        self._merging = Merging(
            context.streams,
            identity.grant,
            batch=context.limits.batch,
            on_ready=self._client.wake,
        )
        self._renewal = Renewal(
            context.access.authentication, identity, peer, lambda: self._client.close("grant")
        )
        self._answers: list[str] = [self._hello()]
        self._room: asyncio.Future[None] | None = None  # while the reader waits
        self._ids_json: dict[tuple[str, ...], bytes] = {}
        self._at_sent = asyncio.get_running_loop().time()
        self._fault: Exception | None = None

    def _places(self) -> list[Place]:
        return list(self._merging)

    async def run(self) -> None:
        """Serve the client until one side ends the connection."""
        client = self._client
        reading = asyncio.get_running_loop().create_task(self._read())
        self._renewal.start()
        try:
            client.close(await self._write())
            await self._end()
        except DisconnectedError:
            client.close("left")
        except asyncio.CancelledError:
            if not client.is_stopped():
                raise
        except Exception:
            await self._channel.close(CLOSE_CODES["failed"], "failed")
            raise
        finally:
            reading.cancel()
            self._renewal.close()
            self._merging.close()
            self._context.clients.remove(client, client.reason or "failed")
        if self._fault is not None:
            raise self._fault

    # Write

    async def _write(self) -> str:
        """Write everything until the end, and return its reason."""
        client = self._client
        try:
            while client.reason is None or client.reason == "stopping":
                text = self._next_frame()
                if text is not None:
                    await client.write(self._channel.send(text))
                    client.is_beat_due = False
                    if len(text) > TURN:
                        await asyncio.sleep(0)
                elif self._merging.has_ended or client.reason is not None:
                    return "stopping"
                else:
                    await client.wait()
        except SlowClientError:
            return "slow"
        return client.reason

    async def _end(self) -> None:
        """Write the reason of the end, and close."""
        client, reason = self._client, self._client.reason
        assert reason is not None
        if reason not in ("left", "slow"):
            with suppress(SlowClientError):
                if reason in WITH_BYE:
                    await client.write(self._channel.send(frames.bye(reason)))
                await client.write(self._channel.close(CLOSE_CODES[reason], reason))
        if client.reason == "slow":
            self._context.clients.remove(client, "slow")
            await self._context.clients.linger(
                client, self._channel.close(CLOSE_CODES["slow"], "slow")
            )

    def _next_frame(self) -> str | None:
        """Return the next frame to write, if there is one."""
        if self._answers:
            if self._room is not None:
                wake(self._room)
            return self._answers.pop(0)
        if self._client.is_beat_due or self._client.written_at - self._at_sent >= AT_INTERVAL:
            self._client.is_beat_due = False
            self._at_sent = asyncio.get_running_loop().time()
            self._answers += [
                frames.at(ids, cursor) for cursor, ids in self._merging.cursors().items()
            ]
            if self._answers:
                return self._answers.pop(0)
        taken = self._merging.take(self._max_entries, self._entry)
        if isinstance(taken, Gap):
            return frames.gap(taken.id, taken.missed)
        return None if taken is None else frames.events(taken)

    @property
    def _max_entries(self) -> int:
        return self._context.limits.batch - frames.EVENTS_OVERHEAD

    def _entry(self, delivery: Delivery) -> bytes:
        ids = self._ids_json.get(delivery.to)
        if ids is None:
            if len(self._ids_json) >= MAX_IDS_JSON:
                self._ids_json.clear()
            ids = self._ids_json[delivery.to] = frames.ids_json(delivery.to)
        return frames.entry(ids, delivery.record)

    # Read

    async def _read(self) -> None:
        rate = _new_rate()
        client = self._client
        try:
            while True:
                text = await self._channel.receive()
                frame = _frame_of(text, rate, self._context.limits.frame)
                self._answers.append(await self._answer(frame))
                client.wake()
                while len(self._answers) >= MAX_ANSWERS:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                self._room = None
        except DisconnectedError:
            client.close("left")
        except _ClosedError as closed:
            client.close(closed.args[0])
        except BusClosedError:
            client.close("stopping")
        except Exception as exc:  # a fault of edr, which the server logs
            self._fault = exc
            client.close("failed")

    async def _answer(self, frame: Mapping[str, Any]) -> str:
        try:
            return await self._handle(frames.read_request(frame))
        except RequestError as error:
            return frames.error(error, frame)

    async def _handle(self, request: frames.Request) -> str:
        match request:
            case frames.Subscribe():
                return self._subscribe(request)
            case frames.Rebind():
                return self._rebind(request)
            case frames.Unsubscribe():
                self._check_known(request.id)
                self._merging.unsubscribe(request.id)
                return frames.unsubscribed(request.id)
            case frames.Ping():
                return frames.pong(request.n)
            case frames.Explain():
                return await self._explain(request)
            case frames.Hello():
                if request.token is not None:
                    raise RequestError(
                        "already_authenticated", "the connection is authenticated", "token"
                    )
                return self._hello()

    def _hello(self) -> str:
        return frames.hello(self._identity.grant.account, self._context.bus.node)

    def _subscribe(self, request: frames.Subscribe) -> str:
        if request.id in self._merging:
            raise RequestError("duplicate_id", "the connection has this subscription", "id")
        limit = self._context.limits.subscriptions
        if len(self._merging) >= limit:
            raise RequestError(
                "too_many_subscriptions",
                f"a connection may have {limit:,} subscriptions; end one first, or use several "
                "bindings in one",
            )
        try:
            cursor = self._merging.subscribe(
                request.id, request.bindings, after=request.after, last=request.last
            )
        except JournalError as exc:
            raise RequestError("failed", f"the journal cannot be read: {exc}") from None
        return frames.subscribed(request.id, cursor)

    def _rebind(self, request: frames.Rebind) -> str:
        self._check_known(request.id)
        try:
            cursor = self._merging.rebind(request.id, request.bindings)
        except JournalError as exc:
            raise RequestError("failed", f"the journal cannot be read: {exc}") from None
        return frames.subscribed(request.id, cursor)

    def _check_known(self, name: str) -> None:
        if name not in self._merging:
            raise RequestError("unknown_id", "the connection has no such subscription", "id")

    async def _explain(self, request: frames.Explain) -> str:
        grant = self._identity.grant
        event = self._context.streams.find(request.cursor, grant=grant)
        if event is None:
            raise RequestError("not_found", ERRORS["not_found"], "cursor")
        explaining = Explaining(self._context.bus)
        results = await explaining.results(event, grant, self._merging.bindings.items())
        text = frames.explained(request.id, request.cursor, results)
        if len(text) > MAX_ANSWER:
            raise RequestError("too_large", f"the answer has {len(text):,} characters")
        return text
