"""What the package shows, and that it stays light and in one reading order."""

import ast
import logging
import re
import subprocess
import sys
from pathlib import Path

import edr
from edr.log import RateLimitedLog

PACKAGE = Path(edr.__file__).parent


def test_all_lists_what_is_visible():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    visible = {name for name in vars(edr) if not name.startswith("_")} - modules

    assert visible == set(edr.__all__) - modules
    assert edr.__all__ == sorted(edr.__all__)


def test_every_public_thing_has_a_docstring():
    for name in edr.__all__:
        assert getattr(edr, name).__doc__, name


def test_each_module_imports_only_from_those_before_it():
    order = re.findall(r"\w+", edr.__doc__.split("before it:")[1])
    assert sorted(order) == sorted(p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__")
    for position, module in enumerate(order):
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        for node in tree.body:  # what stands under `if TYPE_CHECKING` is not in the body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edr"):
                names = node.module.split(".")[1:] or [alias.name for alias in node.names]
                assert all(order.index(name) < position for name in names), (module, names)


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
