"""How smooth is the live page under load, and what does it look like?

A process serves a gateway and emits events at a rate. A real browser shows its page. Measured are
the frames a second, the CPU time of the page's thread per frame, the number of elements, and the
memory of the page. chromium and chromedriver must be installed, and the extras ``test``
and ``bench``.

    python -m benchmarks.live_page --rate 2000 --seconds 20
    python -m benchmarks.live_page --rate 2000 --seconds 600
    python -m benchmarks.live_page --rate 40 --pictures docs/pictures
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image

import edr
from edr.web import Gateway, Grant, Peer, Server
from tests.support.browser import Browser, browser_session

TICKS = 50
"""Blocks of events a second."""

COUNT_FRAMES = """
const [seconds, done] = arguments, began = performance.now();
let frames = 0, longest = 0, last = began;
requestAnimationFrame(function next(now) {
  frames += 1;
  longest = Math.max(longest, now - last);
  last = now;
  if (now - began < seconds * 1000) requestAnimationFrame(next);
  else done([frames, longest, now - began]);
});
"""


# The process that is shown


def grant_of(token: str | None, _: Peer) -> Grant | None:
    """The token is the account; that of operators is ``all``."""
    return None if token is None else Grant.everything() if token == "all" else Grant(token)  # noqa: S105


def fields_of(number: int, chance: random.Random) -> Mapping[str, Any]:
    """Return the fields of an event of a call centre."""
    severity = chance.choices(["ok", "warning", "critical"], [70, 24, 6])[0]
    account = chance.choice(["branch_07", "branch_12", "reseller"])
    return {
        "app_name": chance.choice(["acdc", "acdc", "callflow"]),
        "app_version": "4.0.0",
        "severity": severity,
        "verbosity": {"ok": "info", "warning": "warn", "critical": "error"}[severity],
        "account_id": account,
        "account_tree": [] if account == "reseller" else ["reseller"],
        "body": {
            "event": "agent_status_change",
            "status": chance.choice(["paused", "wrapup", "outbound", "connected"]),
            "agent_id": f"a{chance.randrange(90)}",
            "queue": {"id": chance.choice(["q7", "q9"]), "name": "Sales"},
            "wait_time": 31 + chance.randrange(400),
            "call_id": f"{chance.randrange(65_536):04x}-{number}",
        },
    }


async def emit(bus: edr.Bus, rate: int) -> None:
    """Publish events at a rate, in blocks."""
    chance = random.Random(1)
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    while True:
        while number < (loop.time() - began) * rate:
            number += 1
            bus.publish_nowait(edr.Event(node="calls-api@apps1:4123", **fields_of(number, chance)))
        await asyncio.sleep(1 / TICKS)


async def serve(rate: int) -> None:
    """Serve until the standard input ends. Print the URL."""
    bus = edr.Bus(node="calls-api@apps1:4123")
    async with bus, Server(Gateway(bus, authenticate=grant_of), "127.0.0.1:0") as server:
        calls = edr.Binding(app_name="acdc", body={"queue": {"id": ["q9"]}})
        _stuck = bus.subscribe(calls, name="wallboard q9", capacity=64, overflow="drop_oldest")
        bus.on(edr.Binding(severity="critical"), name="alarms")(_take)
        bus.on(edr.Binding(verbosity="trace"), name="audit", capacity=4096)(_take)
        print(server.url, flush=True)
        emitting = asyncio.create_task(emit(bus, rate))
        await asyncio.to_thread(sys.stdin.read)
        emitting.cancel()


async def _take(_: edr.Event) -> None:
    """Take an event."""


# The browser


async def open_page(browser: Browser, url: str, fragment: str = "") -> None:
    """Sign in, and wait for the first event."""
    await browser.go(f"{url}/{fragment}")
    await browser.until("!document.getElementById('sign-in').hidden")
    await browser.press(*"all", "enter")
    await browser.until("document.querySelector('#rows .row:not([hidden])')")


async def metrics(browser: Browser) -> dict[str, float]:
    """Return the metrics of the page; its times are CPU times."""
    found = await browser.devtools("Performance.getMetrics")
    return {each["name"]: each["value"] for each in found["metrics"]}


async def measure(browser: Browser, url: str, seconds: int) -> None:
    """Print the figures of a page that follows the events."""
    await browser.devtools("Performance.enable", timeDomain="threadTicks")
    await open_page(browser, url)
    before = await metrics(browser)
    frames = milliseconds = longest = 0.0
    for _ in range(0, seconds, 10):
        count, slowest, took = await browser.run_async(COUNT_FRAMES, min(10, seconds))
        frames, milliseconds = frames + count, milliseconds + took
        longest = max(longest, slowest)
    after = await metrics(browser)
    await browser.devtools("HeapProfiler.collectGarbage")
    print(f"{1000 * frames / milliseconds:.0f} frames/s over {milliseconds / 1000:.0f} s")
    print(f"{longest:.0f} ms the longest frame")
    for name in ("TaskDuration", "ScriptDuration", "LayoutDuration"):
        print(f"{1000 * (after[name] - before[name]) / frames:.1f} ms CPU {name} per frame")
    print(await browser.run("return document.querySelectorAll('*').length"), "elements")
    print(f"{(await metrics(browser))['JSHeapUsedSize'] / 2**20:.0f} MiB JavaScript heap")
    print(f"{private_memory() / 2**20:.0f} MiB private memory of the page's process")
    for name in ("rate-shown", "lost", "count"):
        print(
            f"{name}: {await browser.run(f'return document.getElementById({name!r}).textContent')}"
        )


def private_memory() -> int:
    """Return the bytes of memory that only the process of the page uses."""
    processes = psutil.Process().children(recursive=True)
    renderers = [each for each in processes if "--type=renderer" in each.cmdline()]
    return max(each.memory_full_info().uss for each in renderers)


async def take_pictures(browser: Browser, url: str, folder: Path) -> None:
    """Save pictures of the page in both colour schemes, and of a narrow one."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for name, width, scheme, fragment in (
        ("live-page-dark", 1280, "dark", "#severity=warning"),
        ("live-page-light", 1280, "light", "#severity=warning"),
        ("live-page-narrow", 360, "dark", ""),
    ):
        await browser.view(width, 820, scheme)
        await open_page(browser, url, fragment)
        await browser.until("document.getElementById('spark-line').getAttribute('d')?.length > 150")
        await browser.until("!document.getElementById('in-figure').hidden")
        if width > 900:
            await browser.press(*"kkkkk")
            await browser.until("document.querySelector('#why .result')")
        await browser.run("document.activeElement.blur()")
        picture = small(base64.b64decode(await browser.picture()))
        await asyncio.to_thread((folder / f"{name}.png").write_bytes, picture)


def small(png: bytes) -> bytes:
    """Return a picture with 256 colours, a third of its size."""
    with Image.open(BytesIO(png)) as image, BytesIO() as file:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
        return file.getvalue()


async def show(session: str, url: str, args: argparse.Namespace) -> None:
    """Measure, or take pictures."""
    async with httpx.AsyncClient(timeout=60) as client:
        browser = Browser(session, client)
        await browser.view(1280)
        if args.pictures is None:
            await measure(browser, url, args.seconds)
        else:
            await take_pictures(browser, url, args.pictures)


def main() -> None:
    """Start the process and the browser."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=2_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="save pictures instead")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.rate))
        return
    command = [sys.executable, "-m", "benchmarks.live_page", "--serve", "--rate", str(args.rate)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # noqa: S603 - this module
        url = process.stdout.readline().strip()
        with browser_session() as session:
            asyncio.run(show(session, url, args))
        process.stdin.close()


if __name__ == "__main__":
    main()
