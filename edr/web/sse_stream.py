"""``SseStream``: sends the events of one place as server-sent events, until one side ends it.

The loop takes everything that is available and writes it at once, at most ``batch`` bytes. So
batches form by themselves when a client, or the machine, is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Send

from edr.streams import Place
from edr.web import sse
from edr.web.clients import Client, Clients, SlowClientError
from edr.web.responses import part, start

MAX_RECORDS = 1024
"""Events of one write. Small ones would otherwise be thousands, which hold the loop."""

TURN = 16 * 1024
"""Bytes of a write after which other tasks run, before the next write of the same client."""


class SseStream:
    """The stream of one client.

    Args:
        client: the client.
        clients: removes it at the end.
        place: its place; the caller removes it.
        blocks: makes the blocks of events, for all streams.
        batch: bytes of one write.
        fails_on_gap: whether missed events end the stream.
    """

    def __init__(
        self,
        client: Client,
        clients: Clients,
        place: Place,
        *,
        blocks: sse.Blocks,
        batch: int,
        fails_on_gap: bool,
    ) -> None:
        self._client = client
        self._clients = clients
        self._place = place
        self._blocks = blocks
        self._batch = batch
        self._fails_on_gap = fails_on_gap

    async def run(
        self, receive: Receive, send: Send, hello: bytes, headers: Mapping[str, str]
    ) -> None:
        """Send events until the client leaves, the grant ends or the gateway stops.

        Args:
            receive: of the request.
            send: of the request.
            hello: the first block.
            headers: of the answer.
        """
        listening = asyncio.get_running_loop().create_task(self._until_disconnect(receive))
        client = self._client
        try:
            listed = {**headers, "Content-Type": sse.MEDIA_TYPE, "X-Accel-Buffering": "no"}
            await client.write(send(start(200, listed)))
            client.close(await self._send_all(send, hello))
            if client.reason is not None and client.reason != "left":
                await client.write(send(part(sse.bye(client.reason), is_last=True)))
        except SlowClientError:
            self._clients.remove(client, "slow")
            await self._clients.linger(client, send(part(sse.bye("slow"), is_last=True)))
        except asyncio.CancelledError:
            if not client.is_stopped():  # the server cancels the request
                raise
        except OSError:  # of a server that reports a lost connection; uvicorn does not
            client.close("left")
        finally:
            listening.cancel()

    async def _send_all(self, send: Send, block: bytes) -> str:
        """Send ``block`` and everything that follows; return the reason of the end."""
        client, place, batch = self._client, self._place, self._batch
        while True:
            if client.reason is not None and client.reason != "stopping":
                return client.reason
            taken = place.take(MAX_RECORDS, batch)
            if taken.missed is not None:
                if self._fails_on_gap:
                    return "gap"
                block += sse.gap(taken.missed)
            if taken.records:
                events = self._blocks.of(taken.records)
                block = block + events if block else events
            elif not block:
                if taken.ended or client.reason is not None:
                    return client.reason or "stopping"
                if not client.is_beat_due:
                    await client.wait()
                    continue
                block = sse.heartbeat(place.cursor)
            await client.write(send(part(block)))
            client.is_beat_due = False
            if len(block) > TURN:
                await asyncio.sleep(0)
            block = b""

    async def _until_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._client.close("left")
