"""The program of docs/kazoo.md, run beside what Kazoo publishes."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import orjson
import pytest
from support.consuming import until
from support.kazoo_samples import DISK, LOGIN, LOGIN_KEY
from support.rabbitmq_server import URL

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

PAGE = (Path(__file__).parents[2] / "docs" / "kazoo.md").read_text(encoding="utf-8")


async def test_the_service_of_the_page_hears_kazoo_and_is_heard(vhost, raw_at):
    (program,) = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert f'"{URL}/"' in program
    kazoo = await raw_at(vhost, "kapps")
    seen = await kazoo.consume("edr.warning.#")
    service = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-c", program.replace(f"{URL}/", vhost)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed = [await service.stdout.readline()]
    while not await kazoo.is_heard("edr.ok.info.undefined.acdc", DISK):
        await asyncio.sleep(0.01)
    for event, number in (("logged_into_queue", "1"), ("logged_out_of_queue", "2")):
        payload = orjson.loads(LOGIN)
        payload["Body"]["event"], payload["ID"] = event, number
        await kazoo.publish(LOGIN_KEY, orjson.dumps(payload), timestamp=63_871_200_000 * 10**6)
        printed.append(await service.stdout.readline())
    await until(lambda: seen)
    service.send_signal(signal.SIGTERM)
    rest, errors = await service.communicate()

    assert b"".join(printed).decode() + rest.decode() == shown
    assert (errors, service.returncode) == (b"", 0)
    assert seen[0].delivery.routing_key == (
        "edr.warning.warn.5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a.queue-watch"
    )
