"""The route ``/events``: joins a client to the streams of the bus, and runs its SSE stream."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import Receive, Send

from edr.errors import BusClosedError
from edr.journal import JournalError
from edr.streams import Grant, Place
from edr.streams.cursors import NOWHERE
from edr.web import sse
from edr.web.authentication import Identity, Renewal
from edr.web.clients import Client
from edr.web.context import Context
from edr.web.limits import Seat
from edr.web.peer import Peer
from edr.web.refusals import RefusedError
from edr.web.requests import StreamRequest, stream_request
from edr.web.sse_stream import SseStream


async def stream_events(
    context: Context,
    request: Request,
    receive: Receive,
    send: Send,
    *,
    identity: Identity,
    peer: Peer,
    seat: Seat,
    headers: Mapping[str, str],
) -> None:
    """Answer ``request`` with a stream of events.

    Raises:
        RefusedError: the request is not valid, or with ``on_gap=fail`` events are missing. Nothing
            was sent.
    """
    wanted = await stream_request(request, max_body=context.limits.frame)
    context.check_running()
    places: list[Place] = []
    client = context.clients.add(identity, peer, seat, lambda: places)
    renewal = Renewal(context.access.authentication, identity, peer, lambda: client.close("grant"))
    try:
        place = join(context, client, wanted, identity.grant)
        places.append(place)
        resumed = wanted.after is not None and place.cursor != NOWHERE
        hello = sse.hello(place, node=context.bus.node, resumed=resumed)
        if wanted.fails_on_gap:
            hello += await _first_block(client, place, context.limits.batch)
        renewal.start()
        stream = SseStream(
            client,
            context.clients,
            place,
            batch=context.limits.batch,
            fails_on_gap=wanted.fails_on_gap,
        )
        await stream.run(receive, send, hello, headers)
    finally:
        renewal.close()
        for place in places:
            context.streams.leave(place)
        context.clients.remove(client, client.reason or "failed")


def join(context: Context, client: Client, wanted: StreamRequest, grant: Grant) -> Place:
    """Join a client to the streams.

    Raises:
        RefusedError: the bus or the journal is closed, 503.
    """
    try:
        return context.streams.join(
            *wanted.bindings,
            on_ready=client.wake,
            grant=grant,
            after=wanted.after,
            last=wanted.last,
            wanted=True,
        )
    except BusClosedError:
        raise RefusedError("bus_closed", "the bus of the gateway is closed") from None
    except JournalError:
        raise RefusedError("journal_failed", "the journal of the gateway is not open") from None


async def _first_block(client: Client, place: Place, batch: int) -> bytes:
    """Return the first events of a client that must not miss any.

    Raises:
        RefusedError: events are missing, 410.
    """
    while True:
        taken = place.take(max_bytes=batch)
        if taken.missed is not None:
            raise RefusedError(
                "gap",
                "events after this cursor are missing; continue after the cursor of this error, "
                "or without on_gap=fail",
                "after",
                more={**sse.gap_document(taken.missed), "cursor": taken.missed.cursor},
            )
        if taken.records or taken.ended or client.reason is not None or place.is_current:
            return sse.events(taken.records)
        await client.wait()
