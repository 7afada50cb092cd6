"""Every program in the README and in docs/ runs, and prints what the page shows.

A ```python block is a program, and the ```text block behind it what it prints. A ```py block that
has tests is a module of tests; any other needs a server, and is tested where one is started.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOSS = (
    r"^(subscription '.*' dropped an event|events were dropped since the last|source '.*' refused)"
)
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}


def modules_of_tests(page):
    blocks = re.findall(r"```py\n(.*?)```", PAGES[page], re.DOTALL)
    return [block for block in blocks if "def test_" in block]


def programs_of(page):
    return re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGES[page], re.DOTALL)


PROGRAMS = [
    pytest.param(*each, id=f"{page}-{n}", marks=() if page == "README.md" else pytest.mark.slow)
    for page in PAGES
    for n, each in enumerate(programs_of(page), 1)
]


@pytest.mark.parametrize("page", PAGES)
def test_every_program_has_its_output(page):
    assert len(programs_of(page)) == PAGES[page].count("```python")


def test_the_readme_has_programs():
    assert README.count("```python") >= 3


@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_a_program_prints_what_the_page_shows(program, output, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=100,
    )

    assert done.stdout == output
    # What a program loses on purpose is said on stderr; the page shows what it prints.
    said = [line for line in done.stderr.splitlines() if not re.search(LOSS, line)]
    assert not said


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if modules_of_tests(page)])
def test_the_tests_that_a_page_shows_pass(page, tmp_path):
    for number, tests in enumerate(modules_of_tests(page)):
        (tmp_path / f"test_{number}.py").write_text(tests, encoding="utf-8")
    options = ["-q", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout


def test_the_commands_name_files_and_extras_that_exist():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(.*?)```", README + contributing, re.DOTALL)
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    words = [word for command in commands for word in shlex.split(command, comments=True)]
    scripts = [word for word in words if word.startswith(("examples/", ".ci/"))]
    modules = [word for word in words if word.startswith("benchmarks.")]
    extras = {
        each
        for word in words
        for found in re.findall(r"\[([\w,]+)\]", word)
        for each in found.split(",")
    }

    assert len(commands) >= 5
    assert scripts
    assert modules
    assert all((ROOT / script).exists() for script in scripts)
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
    assert all(re.search(rf"^{extra} = \[", pyproject, re.MULTILINE) for extra in extras)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_the_links_of_a_page_lead_somewhere(page):
    folder = (ROOT / page).parent
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [each for each in targets_in(text) if not each.startswith("https://")]

    for link in links:
        target, _, anchor = link.partition("#")
        path = folder / target if target else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in anchors_of(path), link


def targets_in(text):
    return re.findall(r"\]\(([^)\s]+)[^)]*\)", text)


def anchors_of(path):
    """Return the anchors of a page's headings, made as the usual viewers make them."""
    prose = re.sub(r"(?ms)^```.*?^```", "", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_index_leads_to_every_page():
    linked = {f"docs/{target}" for target in targets_in(PAGES["docs/index.md"])}
    linked |= {f"docs/api/{target}" for target in targets_in(PAGES["docs/api/index.md"])}

    assert set(PAGES) - {"README.md", "docs/index.md"} <= linked
    assert "docs/index.md" in targets_in(README)


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= 225


def test_on_a_package_index_no_link_leads_nowhere():
    done = subprocess.run(
        [sys.executable, "-m", "hatch_fancy_pypi_readme"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=100,
    )

    assert "the tutorial" in done.stdout
    assert not re.findall(r"\]\((?!https://)", done.stdout)


def test_the_ci_calls_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert 'bin/python" -m pytest' in script
    assert ".venv/bin/python -m pytest" in README
