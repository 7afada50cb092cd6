"""A real browser for tests: chromium, by the WebDriver protocol of its chromedriver.

The protocol is JSON by HTTP, so that a client needs no library of its own. Conditions are waited
for within the page.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest

SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # as root, in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
WAITS = 20.0
"""Seconds, of real time: the browser has processes of its own."""

KEYS = {"escape": "\ue00c", "enter": "\ue007", "shift": "\ue008", "down": "\ue015"}

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_STARTED = re.compile(r"started successfully on port (\d+)")


@contextmanager
def browser_session():
    """Start a browser, and yield the URL of its session. Without one the test is skipped."""
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        pytest.skip("needs chromium and chromedriver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            port = next(match[1] for line in process.stdout if (match := _STARTED.search(line)))
            base = f"http://127.0.0.1:{port}/session"
            options = {"binary": chromium, "args": [*SWITCHES, f"--user-data-dir={folder}"]}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": int(WAITS * 1000)},
            }
            capabilities = {"capabilities": {"alwaysMatch": wanted}}
            session = f"{base}/{_new_session(base, capabilities)}"
            yield session
            httpx.delete(session, timeout=60)
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


@asynccontextmanager
async def browser_tab(session):
    """Yield the browser of a session, with an empty page."""
    asyncio.get_running_loop().set_debug(False)  # it makes a server several times slower
    async with httpx.AsyncClient(timeout=2 * WAITS) as client:
        browser = Browser(session, client)
        await browser.view(1280)
        await browser.messages()
        yield browser
        await browser.go("about:blank")  # its connections end before the server does


class Browser:
    """One tab.

    Args:
        session: the URL of its session.
        client: sends the commands.
    """

    def __init__(self, session, client):
        self._session = session
        self._client = client

    async def go(self, url):
        """Load a page, also if only its fragment is another."""
        await self._post("url", url="about:blank")
        await self._post("url", url=url)

    async def run(self, script, *args):
        """Return the result of a function body of JavaScript; ``arguments`` has ``args``."""
        return await self._post("execute/sync", script=script, args=args)

    async def run_async(self, script, *args):
        """Return what a function body of JavaScript gives to its last argument, a function."""
        return await self._post("execute/async", script=script, args=args)

    async def until(self, expression, *args):
        """Wait until an expression of JavaScript is true, and return its value."""
        script = (
            "const done = arguments[arguments.length - 1], given = arguments;"
            "(function check() {"
            f"  const value = (function () {{ return {expression}; }}).apply(null, given);"
            "  if (value) done(value); else setTimeout(check, 20);"
            "})();"
        )
        try:
            return await self.run_async(script, *args)
        except AssertionError as exc:
            shown = await self.run("return document.body.innerText")
            raise AssertionError(f"{expression} did not become true\n{shown}") from exc

    async def text(self, selector):
        """Return the visible text of an element."""
        return await self.run("return document.querySelector(arguments[0]).innerText", selector)

    async def click(self, selector, *, shift=False):
        """Click on the middle of an element."""
        element = await self._post("element", using="css selector", value=selector)
        move = {"type": "pointerMove", "origin": {_ELEMENT: element[_ELEMENT]}, "x": 0, "y": 0}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        pause = [{"type": "pause"}]
        keys = [_key("keyDown", "shift"), *pause * 3, _key("keyUp", "shift")]
        mouse = [*pause, move, *press, *pause]
        actions = [{"type": "pointer", "id": "mouse", "actions": mouse}]
        if shift:
            actions.append({"type": "key", "id": "keyboard", "actions": keys})
        await self._post("actions", actions=actions)

    async def press(self, *keys):
        """Press keys, one after the other: characters, or names in ``KEYS``."""
        strokes = [_key(kind, key) for key in keys for kind in ("keyDown", "keyUp")]
        await self._post("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    async def view(self, width, height=800, scheme="light"):
        """Set the size of the page, in pixels, and the colour scheme that the user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.devtools("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.devtools("Emulation.setEmulatedMedia", features=features)

    async def devtools(self, command, **params):
        """Send a command of the Chrome DevTools protocol."""
        return await self._post("goog/cdp/execute", cmd=command, params=params)

    async def picture(self):
        """Return the page as base64 of a PNG."""
        return await self._get("screenshot")

    async def messages(self):
        """Return the messages of the console since the last call, without those of the network."""
        found = await self._post("se/log", type="browser")
        return [each["message"] for each in found if each["source"] != "network"]

    async def _post(self, command, **body):
        return _value(await self._client.post(f"{self._session}/{command}", json=body))

    async def _get(self, command):
        return _value(await self._client.get(f"{self._session}/{command}"))


def _new_session(base, capabilities):
    """Return the id of a new session. A busy machine may be too slow for the first attempt."""
    for _ in range(2):
        answer = httpx.post(base, json=capabilities, timeout=60)
        if answer.status_code == 200:
            break
    return _value(answer)["sessionId"]


def _key(kind, key):
    return {"type": kind, "value": KEYS.get(key, key)}


def _value(answer):
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return value
