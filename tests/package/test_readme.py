"""Every snippet of the README runs, and prints what the README shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LOSS = r"^(subscription '.*' lost an event|events were lost since the last line)"
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)


def test_every_snippet_has_its_output():
    assert len(PROGRAMS) == README.count("```python") >= 5


@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_a_snippet_prints_what_the_readme_shows(program, output, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=30,
    )

    assert done.stdout == output
    # What a program loses on purpose is said on stderr; the README shows what it prints.
    said = [line for line in done.stderr.splitlines() if not re.search(LOSS, line)]
    assert not said


def test_the_commands_name_files_and_extras_that_exist():
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    words = [word for command in commands for word in shlex.split(command)]
    scripts = [word for word in words if word.startswith(("examples/", "benchmarks/"))]
    extras = {extra for word in words for extra in re.findall(r"\[(\w+)\]", word)}

    assert len(commands) >= 3
    assert scripts
    assert all((Path(__file__).parents[2] / script).exists() for script in scripts)
    assert all(re.search(rf"^{extra} = \[", pyproject, re.MULTILINE) for extra in extras)


def test_the_ci_calls_the_test_command_of_the_readme():
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text(encoding="utf-8")

    assert "python -m pytest" in script
    assert ".venv/bin/python -m pytest" in README
