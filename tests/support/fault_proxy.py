"""A proxy between a client and a server, which does to what it carries what networks do."""

import asyncio
import contextlib


class FaultProxy:
    """Carries bytes both ways; `cut`, `mute` and `delay` are the faults."""

    def __init__(self, port, *, listen=0):
        self.said = bytearray()
        """What the server said."""
        self.delay = 0.0
        """Seconds by which each piece is late, either way."""
        self._heard = asyncio.Event()
        self._heard.set()
        self._target = port
        self._listen = listen
        self._links = set()
        self._server = None

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self._listen)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    def mute(self):
        """Hold back what the server says: its acknowledgements are lost."""
        self._heard.clear()

    def unmute(self):
        self._heard.set()

    async def cut(self):
        """End all connections."""
        for link in list(self._links):
            link.cancel()
        if self._links:
            await asyncio.wait(set(self._links))

    async def _accepted(self, client_reader, client_writer):
        self._links.add(asyncio.current_task())
        writers = [client_writer]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(writer)
            carriers = [
                asyncio.ensure_future(self._carry(client_reader, writer, None)),
                asyncio.ensure_future(self._carry(reader, client_writer, self._heard)),
            ]
            try:
                await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for carrier in carriers:
                    carrier.cancel()
                await asyncio.gather(*carriers, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or this connection is cut
        finally:
            for writer in writers:
                writer.transport.abort()
            self._links.discard(asyncio.current_task())

    async def _carry(self, reader, writer, gate):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                if gate is not None:
                    self.said += piece
                    await gate.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()
