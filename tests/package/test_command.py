"""``python -m edr`` and the script ``edr``."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments, code=None):
    command = [sys.executable, *(("-c", code) if code else ("-m", "edr")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_module_runs_the_command():
    finished = run("--help")

    assert finished.returncode == 0
    assert "Usage: edr" in finished.stdout


@pytest.mark.slow
def test_without_the_extra_the_package_to_install_is_printed():
    code = (
        "import sys; sys.modules['cyclopts'] = None; import edr.__main__ as m; sys.exit(m.main())"
    )
    finished = run("--help", code=code)

    assert finished.returncode == 78
    assert finished.stderr == "edr: the command needs cyclopts: pip install 'edr[cli]'\n"


@pytest.mark.slow
def test_exit_does_not_collect_all_modules_as_garbage():
    code = (
        "import gc, sys, edr.__main__ as m; sys.argv = ['edr', '--version']; m.main(); "
        "print(gc.get_freeze_count() > 1000, gc.get_threshold()[0])"
    )

    assert run(code=code).stdout.split()[1:] == ["True", "20000"]


def test_script_is_the_main_of_the_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["scripts"] == {"edr": "edr.__main__:main"}
    assert {each.split(">")[0] for each in project["optional-dependencies"]["cli"]} == {
        "cyclopts",
        "rich",
    }
