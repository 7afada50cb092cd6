"""The gateway behind nginx, with the settings of docs/web.md."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support.web_grants import grant_of

from edr.web import Gateway, Server

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
ROOT = Path(__file__).parents[2]
MAIN = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.access(NGINX, os.X_OK), reason="nginx is not installed"),
]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
async def behind_nginx(tmp_path, bus, stack):
    """Start a gateway, and nginx in front of it; return an object with the port of nginx."""
    gateway = Gateway(bus, authenticate=grant_of, send_timeout=60)
    server = Server(gateway, "127.0.0.1:0", behind_proxy=True)
    await stack.enter_async_context(server)
    page = (ROOT / "docs/web.md").read_text(encoding="utf-8")
    location = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)[1]
    location = location.replace("127.0.0.1:8490", f"127.0.0.1:{server.port}")
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(MAIN.format(folder=tmp_path, port=port, location=location))
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", config, "-p", tmp_path, "-e", "stderr", stderr=subprocess.DEVNULL
    )
    stack.push_async_callback(process.wait)
    stack.callback(process.terminate)
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                break
    server.nginx = type("Nginx", (), {"port": port})
    return server


async def test_events_come_through_nginx_at_once(behind_nginx, client_of, publish):
    client = client_of(behind_nginx.nginx, prefix="/edr")
    async with asyncio.timeout(5):
        stream, hello = await client.events()
        loop = asyncio.get_running_loop()
        started = loop.time()
        publish(1)
        assert (await stream.block()).n == 1

    assert hello.event == "hello"
    assert loop.time() - started < 1


async def test_address_of_the_client_comes_through_nginx(behind_nginx, client_of):
    client = client_of(behind_nginx.nginx, prefix="/edr")
    await client.events()
    document = await (await client.get("/clients")).json()

    assert document["by_address"] == {"127.0.0.1": 2}
