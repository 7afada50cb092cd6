"""What the package shows, and that it stays light and in one reading order."""

import ast
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edr
from edr.bus.log import RateLimitedLog

PACKAGE = Path(edr.__file__).parent


def test_all_lists_what_is_visible():
    modules = {path.stem for path in PACKAGE.iterdir()}
    visible = {name for name in vars(edr) if not name.startswith("_")} - modules

    assert visible == set(edr.__all__) - modules
    assert edr.__all__ == sorted(edr.__all__)


def test_every_public_thing_has_a_docstring():
    for name in edr.__all__:
        assert getattr(edr, name).__doc__, name


@pytest.mark.parametrize("package", [edr, edr.records, edr.bus, edr.records.pattern])
def test_each_module_imports_only_from_those_before_it(package):
    folder = Path(package.__file__).parent
    listed = re.findall(r"\w+", re.search(r"before it:\n(.*?)\.\n", package.__doc__, re.DOTALL)[1])
    present = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(listed) == sorted(present - {"__init__", "__pycache__"})
    order = [f"{package.__name__}.{name}" for name in listed]
    for position, module in enumerate(order):
        path = folder / f"{listed[position]}.py"
        if path.exists():
            for imported in imports_of(path):
                if imported.startswith(f"{package.__name__}."):
                    name = ".".join(imported.split(".")[: order[0].count(".") + 1])
                    assert order.index(name) < position, (module, imported)


def imports_of(path):
    """The modules that a file imports when it runs, not only for the type checker."""
    for node in ast.parse(path.read_text()).body:  # `if TYPE_CHECKING` is not in the body
        if isinstance(node, ast.ImportFrom):
            is_package = node.module == "edr"
            yield from [f"edr.{a.name}" for a in node.names] if is_package else [node.module]


def test_import_loads_no_optional_package():
    program = "import sys, edr; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"rich", "anyio", "uvloop", "matplotlib", "hypothesis"} & set(loaded)


def test_the_log_limits_each_key_and_tells_what_it_left_out(caplog):
    now = [0.0]
    log = RateLimitedLog(lambda: now[0])
    with caplog.at_level(logging.INFO, "edr"):
        for _ in range(100):
            log.log(logging.INFO, "a", "a happened")
        log.log(logging.INFO, "b", "b happened")
        now[0] = 1.5
        log.log(logging.INFO, "a", "a happened to %s", "him")

    assert caplog.messages == [
        "a happened",
        "b happened",
        "a happened to him (and 99 more like it)",
    ]


def test_the_log_forgets_keys_beyond_its_bound():
    log = RateLimitedLog(lambda: 0.0)
    for n in range(3000):
        log.log(logging.DEBUG, str(n), "x")

    assert len(log._quiet_until) <= log.MAX_KEYS
