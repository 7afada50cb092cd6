"""The route ``/events``: joins a client to the streams of the bus, and runs its SSE stream."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Send

from edr.streams import Place
from edr.streams.cursors import NOWHERE
from edr.web import sse
from edr.web.authentication import Renewal
from edr.web.clients import Client
from edr.web.gaps import gap_refusal
from edr.web.joining import first_take, join
from edr.web.requests import stream_request
from edr.web.sse_stream import SseStream
from edr.web.visit import Visit


async def stream_events(
    visit: Visit, receive: Receive, send: Send, headers: Mapping[str, str]
) -> None:
    """Answer a request with a stream of events.

    Args:
        visit: the request.
        receive: of the request.
        send: of the request.
        headers: of the answer.

    Raises:
        RefusedError: the request is not valid, or with ``on_gap=fail`` events are missing. Nothing
            was sent.
    """
    context = visit.context
    wanted = await stream_request(visit.request, max_body=context.limits.frame)
    context.check_running()
    places: list[Place] = []
    client = context.clients.add(visit.identity, visit.peer, visit.seat, lambda: places)
    renewal = Renewal(
        context.access.authentication, visit.identity, visit.peer, lambda: client.close("grant")
    )
    try:
        place = join(context.streams, wanted, visit.grant, client.wake, is_interest=True)
        places.append(place)
        resumed = wanted.after is not None and place.cursor != NOWHERE
        hello = sse.hello(place, node=context.bus.node, resumed=resumed)
        renewal.start()
        if wanted.fails_on_gap:
            hello += await _first_events(client, place, context.limits.batch)
        stream = SseStream(
            client,
            context.clients,
            place,
            blocks=context.blocks,
            batch=context.limits.batch,
            fails_on_gap=wanted.fails_on_gap,
        )
        await stream.run(receive, send, hello, headers)
    finally:
        renewal.close()
        for place in places:
            context.streams.leave(place)
        context.clients.remove(client, client.reason or "failed")


async def _first_events(client: Client, place: Place, batch: int) -> bytes:
    """Return the first events of a client that must not miss any.

    Raises:
        RefusedError: events are missing, 410.
    """
    taken = await first_take(place, client.wait, batch, is_over=lambda: client.reason is not None)
    if taken.missed is not None:
        raise gap_refusal(taken.missed)
    return sse.events(taken.records)
