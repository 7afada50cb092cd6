"""The example in the docstring of each module of a house runs as it stands."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import edr

pytestmark = pytest.mark.slow  # each is a process of its own

PACKAGE = Path(edr.__file__).parent
HOUSES = ("typed", "testing", "adapters")
# What is no door of its house: its users are the other modules.
INNER = {
    "adapters.__init__",
    "adapters.bridge",
    "adapters.consumer_counts",
    "adapters.definitions",
    "adapters.measures",
    "adapters.named_counts",
    "adapters.part_counts",
    "testing.plugin",
    "typed.literals",
}
NEEDED = {
    "structlog": "structlog",
    "prometheus": "prometheus_client",
    "opentelemetry": "opentelemetry",
}


def example_of(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    lines = (text or "").partition("\nExample::\n\n")[2].splitlines()
    end = next((n for n, line in enumerate(lines) if line and not line.startswith(" ")), None)
    return textwrap.dedent("\n".join(lines[:end]))


MODULES = [
    path
    for house in HOUSES
    for path in sorted((PACKAGE / house).glob("*.py"))
    if f"{house}.{path.stem}" not in INNER
]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_the_example_of_a_module_runs_and_is_silent(path):
    pytest.importorskip(NEEDED.get(path.stem, "edr"))
    example = example_of(path)
    assert example, "it has none"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
