"""The manual explains every metric and every log line, and each one that it names exists."""

import ast
import re

import pytest
from package.test_readme import PAGES, ROOT

import edr
from edr.adapters.measures import Measures

EXPLAINED = re.findall(r"^\| `(edr_\w+)(?:\{\w+\})?` \|", PAGES["docs/metrics.md"], re.MULTILINE)


def exported():
    suffixes = {"seconds": "_seconds"}
    for each in Measures(edr.Bus()).read():
        name = f"edr_{each.name}{suffixes.get(each.unit, '')}"
        yield f"{name}_total" if each.kind == "counter" else name


OF_THE_APPLICATION = {"edr_reload_ok"}


def test_each_metric_is_explained_once():
    assert sorted(EXPLAINED) == sorted(exported())


def test_each_metric_that_the_manual_names_exists():
    for page, text in PAGES.items():
        named = set(re.findall(r"`(edr_[a-z_]*[a-z])[`{]", text)) - {"edr_bus", "edr_bus_options"}
        assert named <= {*exported(), *OF_THE_APPLICATION, "edr_event"}, page


def test_each_metric_of_the_application_is_in_its_manual():
    named = set(re.findall(r"`(edr_[a-z_]*[a-z])[`{]", PAGES["docs/running.md"]))

    assert named >= OF_THE_APPLICATION


LINES = re.findall(
    r"^\| (?:INFO|WARNING|ERROR) \| `([^`]+)` \|", PAGES["docs/operations.md"], re.MULTILINE
)
LEVELS = {"INFO", "WARNING", "ERROR", "info", "warning", "error"}


def messages_in_sources():
    """Yield each message that is logged, except those that are only the text of an error."""
    for path in sorted((ROOT / "edr").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            texts = [each.value for each in call.args if isinstance(each, ast.Constant)]
            messages = [each for each in texts if isinstance(each, str) and " " in each]
            names = {getattr(each, "attr", None) for each in [call.func, *call.args]}
            if messages and names & LEVELS and "log" in ast.unparse(call).lower():
                message = re.sub(r"%[rsdg]", "…", messages[-1])
                if len(re.findall(r"[a-z]+", message)) > 1:
                    yield path.name, message


LOGGED = sorted(set(messages_in_sources()))


def pattern_of(line):
    """Return a pattern of the message; a ``FaultLog`` puts ``link <name>`` before it."""
    without_name = re.sub(r"^(link|sink|source) … ", "", line)
    return ".*".join(map(re.escape, without_name.split("…")))


def is_explained(message):
    return any(re.search(pattern_of(line), message, re.DOTALL) for line in LINES)


@pytest.mark.parametrize(("module", "message"), LOGGED)
def test_each_log_line_is_explained(module, message):
    assert is_explained(message), "add a row to docs/operations.md"


def test_each_explained_log_line_exists():
    for line in LINES:
        assert any(re.search(pattern_of(line), message, re.DOTALL) for _, message in LOGGED), line


def test_an_unknown_log_line_is_not_explained():
    assert not is_explained("the moon is full")
