"""Packages that load their names when they are first used."""

import importlib
import sys
import threading
import types

import pytest

from edr._util import lazy

INIT = """
from edr._util.lazy import lazy_names
__getattr__, __dir__ = lazy_names(__name__, {"lazy_pkg.things": "Thing other"}, modules="inner")
"""
THINGS = """
from edr._util.lazy import show_in_facade
class Thing: ...
def other(): ...
show_in_facade(__name__, "lazy_pkg")
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "lazy_pkg"
    folder.mkdir()
    for name, text in (("__init__", INIT), ("things", THINGS), ("inner", "import lazy_signals")):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "lazy_signals", types.ModuleType("lazy_signals"))
    yield importlib.import_module("lazy_pkg")
    lazy.tables.pop("lazy_pkg")
    for name in [name for name in sys.modules if name.startswith("lazy_pkg")]:
        del sys.modules[name]


def test_a_name_loads_its_module_at_the_first_use(package):
    assert "lazy_pkg.things" not in sys.modules

    assert package.Thing is importlib.import_module("lazy_pkg.things").Thing
    assert vars(package)["Thing"] is package.Thing


def test_a_module_loads_at_the_first_use(package):
    assert "inner" not in vars(package)

    assert package.inner is sys.modules["lazy_pkg.inner"]


def test_dir_lists_names_that_are_not_loaded(package):
    assert {"Thing", "other", "inner", "__name__"} <= set(dir(package))
    assert "lazy_pkg.things" not in sys.modules


def test_missing_library_is_an_error_with_the_extra(package, monkeypatch, tmp_path):
    (tmp_path / "lazy_pkg" / "broken.py").write_text("import no_such_library")
    names = {"lazy_pkg.broken": "Broken"}
    with_extra, _ = lazy.lazy_names("lazy_pkg", names, extra="web")
    with pytest.raises(ImportError, match=r"lazy_pkg needs no_such_library: .* extra 'web'"):
        with_extra("Broken")

    without, _ = lazy.lazy_names("lazy_pkg", names)
    with pytest.raises(ModuleNotFoundError):
        without("Broken")


def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=r"^module 'lazy_pkg' has no attribute 'thing'$") as e:
        _ = package.thing

    assert (e.value.name, e.value.obj) == ("thing", package)  # Python suggests the nearest name


def test_a_failed_import_is_repeated_at_the_next_use(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "lazy_signals", None)
    with pytest.raises(ImportError):
        _ = package.inner
    monkeypatch.setitem(sys.modules, "lazy_signals", types.ModuleType("lazy_signals"))

    assert package.inner.__name__ == "lazy_pkg.inner"


def test_objects_belong_to_the_facade_whichever_is_first(package):
    things = importlib.import_module("lazy_pkg.things")

    assert (things.Thing.__module__, things.other.__module__) == ("lazy_pkg", "lazy_pkg")
    assert vars(package)["Thing"] is things.Thing


def test_threads_that_use_a_name_at_once_wait_for_one_import(package, tmp_path):
    path = tmp_path / "lazy_pkg" / "inner.py"
    path.write_text("import lazy_signals\nlazy_signals.load()\nvalue = object()", encoding="utf-8")
    started, proceed, loads, values = threading.Event(), threading.Event(), [], []

    def load():
        loads.append(1)
        started.set()
        assert proceed.wait(60)

    sys.modules["lazy_signals"].load = load
    threads = [threading.Thread(target=lambda: values.append(package.inner.value)) for _ in "ab"]
    threads[0].start()
    assert started.wait(60)
    threads[1].start()  # the first thread is inside the import
    proceed.set()
    for thread in threads:
        thread.join(60)

    assert len(loads) == 1
    assert values == [package.inner.value] * 2
