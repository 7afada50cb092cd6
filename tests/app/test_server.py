"""The HTTP server: health, metrics, and where events are sent."""

import asyncio
import hashlib
import json

import pytest

from app.conftest import BASIC, line, numbers_in, send
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
    async with serving() as (app, server):
        async with asyncio.timeout(10):
            while app.status()["sink audit"]["state"] == "starting":
                await asyncio.sleep(0.01)
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
    assert 'edr_source_accepted_total{bus="edr",source="local"} 1.0' in page
    assert 'edr_source_refused_total{bus="edr",source="local"} 1.0' in page
    assert 'edr_sink_state{bus="edr",sink="audit",state="running"} 1.0' in page
    assert 'edr_journal_appended_total{bus="edr"} 1.0' in page
    assert 'edr_reload_ok{bus="edr"} 1.0' in page


async def test_events_are_not_accepted_without_a_source(serving):
    async with serving() as (_, server):
        assert (await get(server, "/ingest"))[0] == 503


async def test_an_address_in_use_is_an_error_with_its_setting(serving):
    async with serving() as (app, server):
        with pytest.raises(OSError, match=r"http\.listen: cannot listen on 127"):
            await HttpServer(app, server.address).start()


async def post(server, data, bearer=None):
    """Return the status and the text of a POST to /ingest."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
    head += "Content-Type: application/x-ndjson\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    writer.write(head.encode() + b"\r\n" + data)
    answer, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), body


WEB = HTTP + BASIC + '[sources.web]\ntype = "http"\n'


async def test_posted_events_are_stored_and_delivered(running, tmp_path):
    async with running(WEB) as app:
        [server] = app._early_servers  # its address has a free port
        status, body = await post(server, line(1) + line(2))

    assert (status, json.loads(body)) == (200, {"accepted": 2, "refused": []})
    assert numbers_in(tmp_path / "audit.jsonl") == [1, 2]


async def test_a_token_has_its_rights_only(running, tmp_path):
    document = {"sha256": hashlib.sha256(b"secret").hexdigest(), "account": None}
    tokens = tmp_path / "tokens.jsonl"
    tokens.write_text(json.dumps({**document, "rights": ["emit"]}) + "\n")
    tokens.chmod(0o600)
    text = WEB.replace('0" }', '0", tokens_file = "tokens.jsonl" }')
    async with running(text) as app:
        [server] = app._early_servers  # as above
        without = await post(server, line(1))
        with_token = await post(server, line(2), bearer="secret")
        metrics = await get(server, "/metrics")

    assert (without[0], with_token[0], metrics[0]) == (401, 200, 401)
    assert numbers_in(tmp_path / "audit.jsonl") == [2]


async def test_a_full_journal_that_blocks_is_503(running, monkeypatch, caplog):
    monkeypatch.setattr("edr.sources.http.READY_TIMEOUT", 0.05)
    monkeypatch.setattr("edr.sources.http.STORE_TIMEOUT", 0.2)
    full = '[app]\nshutdown_timeout = 0.1\n[journal]\nmax_bytes = "1 MiB"\nfull = "block"\n'
    away = '[sinks.away]\ntype = "http"\nurl = "http://127.0.0.1:1"\n'
    big = line(1, body={"text": "x" * 200_000})
    async with running(WEB + full + away) as app:
        [server] = app._early_servers  # its address has a free port
        while "the journal is full" not in caplog.text:
            status, answer = await post(server, big)

    assert status == 503
    assert json.loads(answer)["not_stored"]["reason"].endswith("within 0.2 s")


async def test_the_application_starts_the_server_of_its_configuration(running):
    async with running(HTTP + BASIC) as app:
        [server] = app._early_servers  # its address has a free port
        assert (await get(server, "/livez"))[0] == 200
