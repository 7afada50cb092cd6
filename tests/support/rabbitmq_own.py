"""A RabbitMQ of our own, for what one may not set on a server that others use. It starts slowly."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.nats_server import free_port
from support.servers import missing

MAX_MESSAGE_SIZE = 100_000
"""Bytes of the largest message that `refusing_rabbitmq` takes."""

STARTS_WITHIN = 120.0


def find_server():
    """The server's start script; Debian's wrapper on the path would change the user."""
    script = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    return str(script) if script.exists() else shutil.which("rabbitmq-server")


@pytest.fixture(scope="session")
def refusing_rabbitmq():
    """The URL of a broker that refuses messages of more than `MAX_MESSAGE_SIZE` bytes, or skip."""
    pytest.importorskip("aiormq", reason="needs rabbitmq: pip install 'edr[rabbitmq]'")
    with own_rabbitmq(f"max_message_size = {MAX_MESSAGE_SIZE}") as url:
        yield url


@contextmanager
def own_rabbitmq(config):
    binary = find_server()
    if binary is None:
        missing("rabbitmq", "no rabbitmq-server is installed")
    with tempfile.TemporaryDirectory(prefix="edr-rabbitmq-") as folder:
        home, port = Path(folder), free_port()
        (home / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n{config}\n")
        (home / "plugins").write_text("[].")
        env = os.environ | {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"edr{port}@localhost",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "RABBITMQ_PID_FILE": f"{home}/pid",
        }
        with (home / "out").open("ab") as log:
            process = subprocess.Popen([binary], env=env, stdout=log, stderr=log)
        try:
            _wait_for(port, process, home)
            yield f"amqp://guest:guest@127.0.0.1:{port}"
        finally:
            with suppress(OSError, ValueError):
                os.kill(int((home / "pid").read_text()), signal.SIGKILL)
            process.kill()
            process.wait()


def _wait_for(port, process, home):
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as asked:
            asked.sendall(b"AMQP\0\0\x09\x01")
            if asked.recv(1):  # it listens before it answers
                return
        time.sleep(0.1)
    missing("rabbitmq", f"one of our own did not start: {(home / 'out').read_text()[-500:]}")
