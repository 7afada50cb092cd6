"""A webhook pipeline: accepted events reach their receiver, although both sides are killed.

    python examples/webhooks.py
    python examples/webhooks.py --kills 10 --seconds 30 --timeout 100

It emits orders to the socket of ``edr run``, which stores them in a journal and posts them, signed,
to an HTTP receiver. The receiver appends their ids to a file. Each of the two processes is killed
several times with SIGKILL. At the end ``edr run`` stops at SIGTERM, and a table has the counts:

* accepted: orders for which ``edr run`` answered that they are stored. An order without an answer
  is emitted again, with the same id.
* delivered, doubled: orders in the file, and repetitions. Delivery is at least once.
* lost: accepted orders that are not in the file.

Exit codes: 0 if no order was lost; 1 if one was, or at the timeout; 2 without the extra ``app``.
"""

import argparse
import asyncio
import base64
import hmac
import importlib.util
import json
import os
import random
import runpy
import signal
import socket
import sys
import tempfile
import threading
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from _display import can_be_rich, print_table, quiet_end

CONFIGURATION = """
sources.orders = { type = "socket", path = "in.sock" }
[sinks.shop]
type = "http"
url = "http://127.0.0.1:PORT/orders"
batch = { events = 20 }
retry = { base = 0.1, cap = 0.5 }
sign = { secret = { env = "WEBHOOK_SECRET" } }
bindings = [{ app_name = "shop" }]
"""
ORDER = {"app_name": "shop", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}
PROGRAM = Path(__file__).resolve()
SIDES = ("edr run", "receiver")


class Receiver(BaseHTTPRequestHandler):
    """Appends the ids of signed orders to a file, and answers when they are on disk."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: D102 - a method of the base class
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
        head = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
        signature = base64.b64encode(hmac.digest(key, head + body, "sha256")).decode()
        is_signed = hmac.compare_digest(self.headers["webhook-signature"], f"v1,{signature}")
        if is_signed:
            with Path("received").open("ab", buffering=0) as file:
                file.write("".join(f"{order['id']}\n" for order in json.loads(body)).encode())
                os.fsync(file.fileno())
        self.send_response(200 if is_signed else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()


def serve(side: str, port: int) -> None:
    """Run one side. It ends when stdin ends, because then its parent has ended."""
    threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
    if side == "receiver":
        ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
    sys.argv = ["edr", "run", "edr.toml"]
    runpy.run_module("edr", run_name="__main__")  # as python -m edr run edr.toml


class Pipeline:
    """Starts and stops the two sides, emits orders, and counts them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.accepted, self.is_ending = folder, 0, False
        self._processes: dict[str, Process] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = str(probe.getsockname()[1])
        secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
        self._env = os.environ | {"WEBHOOK_SECRET": secret, "EDR_RUNTIME_DIR": str(folder)}
        (folder / "edr.toml").write_text(CONFIGURATION.replace("PORT", self._port))
        (folder / "received").touch()

    async def start(self, side: str) -> None:
        """Start a side, with its output in a file."""
        command = (sys.executable, PROGRAM, "--serve", side, self._port)
        with (self.folder / f"{side}.log").open("ab") as log:
            self._processes[side] = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=log, stderr=log, cwd=self.folder, env=self._env
            )

    async def stop(self, side: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a side, and return its exit code."""
        with suppress(ProcessLookupError):
            self._processes[side].send_signal(number)
        return await self._processes[side].wait()

    async def emit(self) -> None:
        """Emit orders, and again those without an answer, until the end."""
        orders: list[str] = []
        while orders or not self.is_ending:
            await asyncio.sleep(0.02)
            with suppress(OSError, ValueError):  # ValueError: an answer that was cut off
                answers, lines = await asyncio.open_unix_connection(self.folder / "in.sock")
                while orders or not self.is_ending:
                    number = self.accepted
                    orders = orders or [f"{number + n}" for n in range(random.randint(1, 5))]
                    documents = (json.dumps(ORDER | {"id": order}) for order in orders)
                    lines.write("".join(f"{each}\n" for each in (*documents, "")).encode())
                    stored = json.loads(await answers.readline())["accepted"]
                    self.accepted += stored
                    orders = orders[stored:]
                    await asyncio.sleep(0.01)

    def received(self) -> list[str]:
        """Return the ids that the receiver has stored, with repetitions."""
        return (self.folder / "received").read_text().split()

    async def wait_received(self, number: int) -> None:
        """Wait until the receiver has ``number`` different orders."""
        while len(set(self.received())) < number:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.02)

    async def run(self, seconds: float, kills: int) -> int:
        """Emit orders, kill each side ``kills`` times, and return the exit code of ``edr run``."""
        emitting = asyncio.create_task(self.emit())
        try:
            for side in SIDES:
                await self.start(side)
            for side in SIDES * kills:
                await self.wait_received(len(set(self.received())) + 1)  # both sides work
                await asyncio.sleep(random.uniform(0, seconds / kills))
                await self.stop(side)
                print(f"{side} was killed; {self.accepted} orders are accepted", flush=True)
                await asyncio.sleep(0.2)
                await self.start(side)
            self.is_ending = True
            await emitting
            await self.wait_received(self.accepted)
            return await self.stop("edr run", signal.SIGTERM)
        finally:
            emitting.cancel()
            for side in self._processes:
                await self.stop(side)


def main(seconds: float, kills: int, timeout: float) -> int:
    """Run the pipeline in a temporary folder, print the table, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        pipeline = Pipeline(Path(name))
        try:
            code = asyncio.run(asyncio.wait_for(pipeline.run(seconds, kills), timeout))
        except TimeoutError:
            print("the timeout is over; the log of edr run:", file=sys.stderr)
            print((pipeline.folder / "edr run.log").read_text()[-2000:], file=sys.stderr)
            code = 1
        ids = pipeline.received()
    lost = {str(number) for number in range(pipeline.accepted)} - set(ids)
    rows = [("accepted", pipeline.accepted), ("delivered", len(set(ids)))]
    rows += [("doubled", len(ids) - len(set(ids))), ("lost", len(lost))]
    print_table(("orders", "number"), rows, rich=can_be_rich(sys.stdout))
    return 1 if lost or code else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a webhook pipeline that survives kill -9")
    parser.add_argument("--kills", type=int, default=2, help="how often each side is killed")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long it emits")
    parser.add_argument("--timeout", type=float, default=28.0, help="when it gives up, in seconds")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
    elif not all(map(importlib.util.find_spec, ("aiohttp", "cyclopts"))):
        parser.error("a package is missing, install it with: pip install '.[app]'")
    else:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        with quiet_end():
            sys.exit(main(options.seconds, options.kills, options.timeout))
