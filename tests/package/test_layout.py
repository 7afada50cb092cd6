"""The walls of the house: what may import what."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edr
import edr._sockets
import edr._util
import edr.adapters
import edr.app
import edr.app.config
import edr.cli
import edr.control
import edr.delivery
import edr.journal
import edr.patterns
import edr.sinks
import edr.sources
import edr.streams
import edr.testing
import edr.typed
import edr.web
import edr.web.blackhole
import edr.wire

ROOT = Path(edr.__file__).parents[1]
# A house that none of the others may import, and that itself may import all of these, is not
# listed: its own docstring says what it needs.
PACKAGES = [
    edr,
    edr._util,
    edr._sockets,
    edr.patterns,
    edr.records,
    edr.bus,
    edr.wire,
    edr.journal,
    edr.delivery,
    edr.sinks,
    edr.sources,
    edr.typed,
    edr.adapters,
    edr.testing,
    edr.streams,
    edr.control,
    edr.web,
    edr.web.blackhole,
    edr.app,
    edr.app.config,
    edr.cli,
]

# What several modules do together: how a bus begins and ends, and how faults are contained.
WITHOUT_A_MODULE = {"lifecycle", "isolation", "agreement", "natural"}


def imports_of(path, *, also_nested=False):
    """The modules that a file imports when it runs, not only for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if also_nested else tree.body:  # `if TYPE_CHECKING` is not in body
        if isinstance(node, ast.ImportFrom):
            is_package = node.module in {package.__name__ for package in PACKAGES}
            yield from [f"{node.module}.{a.name}" for a in node.names] if is_package else ()
            yield node.module
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]


def reading_order(package):
    listed = re.search(r"before it:\n(.*?)\.\n", package.__doc__, re.DOTALL)
    return re.findall(r"\w+", listed[1])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_each_module_imports_only_from_those_before_it(package):
    folder = Path(package.__file__).parent
    order = reading_order(package)
    present = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(order) == sorted(present - {"__init__", "__pycache__"})
    for position, name in enumerate(order):
        for path in [folder / f"{name}.py", *(folder / name).rglob("*.py")]:
            if not path.exists():
                continue
            for imported in imports_of(path):
                inner = imported.removeprefix(f"{package.__name__}.").split(".")[0]
                if imported.startswith(f"{package.__name__}.") and inner in order:
                    own = path.parent != folder
                    assert order.index(inner) < position + own, (path, imported)


def test_packages_are_imported_through_what_they_show():
    for path in (ROOT / "edr").rglob("*.py"):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        for imported in imports_of(path, also_nested=True):
            for shown in (edr.patterns, edr.records, edr.bus):
                name = imported.removeprefix(f"{shown.__name__}.")
                if name != imported and package != shown.__name__:
                    assert name in shown.__all__, (path, imported)


@pytest.mark.parametrize("package", ["patterns", "records", "wire"])
def test_what_is_pure_knows_no_event_loop_and_no_thread(package):
    for path in (ROOT / "edr" / package).rglob("*.py"):
        for imported in imports_of(path, also_nested=True):
            assert imported.split(".")[0] not in {"asyncio", "threading", "anyio", "concurrent"}


def test_the_tests_mirror_the_package():
    for package in ("_util", "patterns", "records", "bus", "wire", "typed", "adapters", "testing"):
        for path in (ROOT / "tests" / package).glob("test_*.py"):
            name = path.stem.removeprefix("test_")
            module = ROOT / "edr" / package / f"{name}.py"
            assert name in WITHOUT_A_MODULE or module.exists(), f"{path} is named for no module"


ALL_PACKAGES = sorted(path.parent.name for path in (ROOT / "edr").glob("*/__init__.py"))


@pytest.mark.parametrize("package", ALL_PACKAGES)
def test_each_module_has_a_test_file_of_its_name(package):
    modules = {path.stem.strip("_") for path in (ROOT / "edr" / package).glob("*.py")} - {"init"}
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}

    assert sorted(modules - {name.removeprefix("test_") for name in tests}) == []


def loaded_by(program):
    code = (
        f"import sys; {program}; print([name for name in sys.modules if name.startswith('edr.')])"
    )
    loaded = ast.literal_eval(subprocess.check_output([sys.executable, "-c", code], text=True))
    return {name.split(".")[1] for name in loaded}


def test_import_edr_loads_no_package():
    assert loaded_by("import edr") == {"_util"}


@pytest.mark.slow
def test_the_bus_loads_the_core_only():
    core = {"_util", "errors", "patterns", "records", "bus"}

    assert loaded_by("from edr import Bus") == core
