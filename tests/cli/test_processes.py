"""Commands as processes: pipes, signals, terminals and their exit codes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EDR = [sys.executable, "-m", "edr"]
PROGRAM = Path(__file__).parents[1] / "support" / "exposed_program.py"


@pytest.fixture
def program(runtime_folder):
    """Start programs that expose a bus, and end them after the test."""
    with contextlib.ExitStack() as stack:

        def start(name="calls-api", rate=50):
            command = [sys.executable, str(PROGRAM), name, str(rate)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout.readline()
            return process

        yield start


@contextlib.contextmanager
def running(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen([*EDR, *arguments], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(*arguments, **options):
    return subprocess.run(
        [*EDR, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_head_ends_a_tail_silently(program):
    program()
    with running("tail", "calls-api") as tail:
        head = subprocess.run(
            ["/usr/bin/env", "head", "-1"], stdin=tail.stdout, capture_output=True, check=True
        )
        tail.stdout.close()
        _, printed = tail.communicate()

    assert json.loads(head.stdout)["app_name"] == "acdc"
    assert (tail.returncode, printed) == (141, "")


def test_tail_ends_with_its_reader_without_a_further_event(program):
    program()
    with running("tail", "calls-api", "-n", "1", "-b", "n=0") as tail:
        assert tail.stdout.readline()
        tail.stdout.close()

        assert tail.wait() == 141


def test_ctrl_c_ends_a_tail_with_its_counts(program):
    program()
    with running("tail", "calls-api") as tail:
        shown = [tail.stdout.readline() for _ in range(3)]
        tail.send_signal(signal.SIGINT)
        rest, printed = tail.communicate()

    assert tail.returncode == 130
    assert printed == f"{len(shown) + len(rest.splitlines())} shown, 0 lost\n"


def test_lost_connection_is_reported(program):
    process = program()
    with running("tail", "calls-api") as tail:
        tail.stdout.readline()
        process.kill()
        rest, printed = tail.communicate()

    gap = json.loads(rest.splitlines()[-1])
    assert tail.returncode == 69
    assert gap == {"is": "gap", "missed": None, "reason": "cut off"}
    assert "shown, an unknown number lost\nedr: the process closed the connection to " in printed


def test_stopped_tail_reports_its_gap(program):
    program(rate=20_000)
    with running("tail", "calls-api") as tail:
        tail.stdout.readline()
        tail.send_signal(signal.SIGSTOP)
        emitted = first = emits("calls-api")
        while emitted < first + 20_000:
            time.sleep(0.1)
            emitted = emits("calls-api")
        tail.send_signal(signal.SIGCONT)
        records = map(json.loads, tail.stdout)
        gap = next(record for record in records if record.get("is") == "gap")
        after = next(record for record in records if "body" in record)

    assert gap["reason"] == "slow"
    assert gap["missed"] > 0
    assert after["body"]["n"] > gap["missed"]


def emits(name):
    return json.loads(finished("status", name).stdout)["bus"]["emits"]


def test_stopped_process_is_unavailable(program, monkeypatch):
    process = program()
    process.send_signal(signal.SIGSTOP)
    result = finished("status", "calls-api")
    process.send_signal(signal.SIGCONT)

    assert result.returncode == 69
    assert "it is stopped, or its event loop is blocked" in result.stderr


def test_output_is_complete_in_a_pipe_of_another_encoding(program):
    program()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = finished("tail", "--count", "1", "-o", "text", env=environment)

    assert result.returncode == 0
    assert result.stdout.isascii()
    assert re.search(" ([.] ok|! warning|# critical) +info +acdc ", result.stdout)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("ls >&-", 0, ""),
        ("ls >&- 2>&-", 0, ""),
        ("ls > /dev/full", 69, "edr: the output cannot be written: No space left on device\n"),
        ("tail --count 1 > /dev/full", 69, "edr: the output cannot be written: No space left"),
        ("--help > /dev/full", 69, "edr: the output cannot be written: No space left on device\n"),
    ],
)
def test_output_that_cannot_be_written(program, line, code, message):
    program()
    shell = f"{sys.executable} -m edr {line}"
    result = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=False)

    assert result.returncode == code
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == bool(message)


def test_tail_loads_neither_pydantic_nor_rich(program):
    program()
    code = (
        "import sys; from edr.cli.main import main; "
        "code = main(['tail', '--count', '1']); "
        "sys.exit(code or str({'pydantic', 'rich', 'edr.bus', 'edr.records'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert result.stderr == "set()\n"
