"""That a test which needs a server is not skipped in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each is a process of its own

TESTS = Path(__file__).parents[1]
ASKS = """
def test_asks(rabbitmq_url):
    pass
"""
HAS_NO_CLIENT = """
import pytest
pytest.importorskip("no_such_client")
"""
NOBODY = "amqp://127.0.0.1:1/"


def run(folder, **env):
    command = [sys.executable, "-m", "pytest", "-p", "support.servers", "-c", os.devnull, folder]
    env = os.environ | {"PYTHONPATH": str(TESTS), "EDR_REQUIRE": ""} | env
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take most of the time
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_summary_says_for_want_of_what_tests_were_skipped(tmp_path):
    (tmp_path / "test_it.py").write_text(ASKS)
    done = run(tmp_path, EDR_TEST_RABBITMQ_URL=NOBODY)

    assert done.returncode == 0
    assert "1 test skipped for want of rabbitmq" in done.stdout


@pytest.mark.parametrize(("name", "text"), [("it", ASKS), ("rabbitmq", HAS_NO_CLIENT)])
def test_a_test_whose_server_is_required_may_not_be_skipped(tmp_path, name, text):
    (tmp_path / f"test_{name}.py").write_text(text)
    done = run(tmp_path, EDR_TEST_RABBITMQ_URL=NOBODY, EDR_REQUIRE="rabbitmq")

    assert done.returncode != 0
    assert "but EDR_REQUIRE has rabbitmq" in done.stdout


def test_another_skip_is_none_of_its_business(tmp_path):
    (tmp_path / "test_it.py").write_text(HAS_NO_CLIENT)
    done = run(tmp_path, EDR_REQUIRE="rabbitmq nats")

    assert "for want of" not in done.stdout
    assert "1 skipped" in done.stdout
