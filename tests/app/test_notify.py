"""Messages to the service manager."""

import os
import socket
from pathlib import Path

import pytest

from edr.app.notify import Notifier


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def test_states_are_sent(manager):
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.reloading()
    notifier.stopping(30)
    notifier.alive()
    notifier.starting(1.5)

    lines = [manager.recv(100).decode() for _ in range(5)]
    assert lines.pop(1).startswith("RELOADING=1\nMONOTONIC_USEC=")
    stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000"
    assert lines == ["READY=1", stopping, "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=1500000"]


def test_the_watchdog_is_called_twice_in_its_period():
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}

    assert Notifier(environ).watchdog_interval == 1.5
    assert Notifier({**environ, "WATCHDOG_PID": "1"}).watchdog_interval is None
    assert Notifier({}).watchdog_interval is None


@pytest.mark.parametrize("address", ["", "/no/such/socket", "@no-such-socket"])
def test_a_missing_manager_is_no_fault(address):
    Notifier({"NOTIFY_SOCKET": address}).ready()


def test_the_unit_of_the_manual_has_private_folders():
    unit = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")

    assert "Environment=EDR_RUNTIME_DIR=/run/edr\n" in unit
    assert "RuntimeDirectoryMode=0700\n" in unit  # else edr refuses the folder, and does not start
