"""``HttpIngest`` behind a real server: a client sees each status, also before its body was read."""

import asyncio

import httpx
import pytest
import uvicorn
from support.consuming import until
from support.sources import line, lines

from edr.sources import HttpIngest


@pytest.fixture
async def url(ingest):
    source = HttpIngest("http", ingest, max_body=100_000)
    await source.start()
    config = uvicorn.Config(source, port=0, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started, within=60)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}/ingest"
    await source.drain()
    server.should_exit = True
    await serving


@pytest.mark.slow
async def test_statuses_over_a_connection(url, journal):
    lines_type = {"content-type": "application/x-ndjson"}
    async with httpx.AsyncClient(timeout=60) as client:
        stored = await client.post(url, content=lines(*range(100)), headers=lines_type)
        refused = await client.post(url, json={})
        large = await client.post(url, content=line("x" * 200_000), headers=lines_type)
        text = await client.post(url, content="{}", headers={"content-type": "text/plain"})
        got = await client.get(url)
        journal.error = "disk full"
        failing = await client.post(url, content=line(1), headers=lines_type)
        journal.error = None
        again = await client.post(url, content=line(100), headers=lines_type)

    assert stored.json() == {"accepted": 100, "refused": []}
    statuses = [each.status_code for each in (stored, refused, large, text, got, failing, again)]
    assert statuses == [200, 400, 413, 415, 405, 503, 200]
    assert failing.headers["retry-after"] == "5"
    assert journal.numbers == list(range(101))
