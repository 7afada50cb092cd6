"""The HTTP server: health, metrics, and where events are sent."""

import asyncio

import pytest

from app.conftest import BASIC, line, send
from edr.app.server import HttpServer

HTTP = 'http = { listen = "127.0.0.1:0" }\n'


async def get(server, path):
    """Return the status and the text of a GET."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


@pytest.fixture
def serving(running):
    """Return a block with an application and a server of it."""
    import contextlib

    @contextlib.asynccontextmanager
    async def serve(text=BASIC):
        async with running(text) as app:
            server = HttpServer(app, "127.0.0.1:0")
            await server.start()
            try:
                yield app, server
            finally:
                await server.aclose()

    return serve


async def test_the_process_is_alive_and_ready(serving):
    async with serving() as (_, server):
        alive = await get(server, "/livez")
        ready = await get(server, "/readyz")

    assert alive == (200, "ok\n")
    assert ready == (200, "application: running\nsource local: running\nsink audit: running\n")


async def test_it_is_not_ready_while_a_required_part_fails(serving):
    text = '[app]\nready_requires = ["audit"]\n' + BASIC.replace("audit.jsonl", "no/audit.jsonl")
    async with serving(text) as (app, server):
        while app.status()["sink audit"]["state"] != "refused":
            await asyncio.sleep(0.01)
        status, body = await get(server, "/readyz")

    assert status == 503
    assert "sink audit: refused: " in body


async def test_the_metrics_have_sinks_sources_and_the_bus(serving, tmp_path):
    async with serving() as (_, server):
        await send(tmp_path / "in.sock", line(1), b"{}\n")
        status, page = await get(server, "/metrics")

    assert status == 200
    assert 'edr_source_accepted_total{source="local"} 1.0' in page
    assert 'edr_source_refused_total{source="local"} 1.0' in page
    assert 'edr_sink_state{sink="audit",state="running"} 1.0' in page
    assert 'edr_journal_appended_total{bus="edr"} 1.0' in page
    assert "edr_reload_ok 1.0" in page


async def test_events_are_not_accepted_without_a_source(serving):
    async with serving() as (_, server):
        assert (await get(server, "/ingest"))[0] == 503


async def test_an_address_in_use_is_an_error_with_its_setting(serving):
    async with serving() as (app, server):
        with pytest.raises(OSError, match=r"http\.listen: cannot listen on 127"):
            await HttpServer(app, server.address).start()


async def test_the_application_starts_the_server_of_its_configuration(running):
    async with running(HTTP + BASIC) as app:
        [server] = app._early_servers  # its address has a free port
        assert (await get(server, "/livez"))[0] == 200
