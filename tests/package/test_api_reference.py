"""docs/api shows every public name with its signature and docstring, as the sources have it."""

import ast
import importlib
import importlib.util
import inspect
import re
from types import ModuleType

import pytest
from package.test_readme import ROOT

import edr

SPEC = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
make_api = importlib.util.module_from_spec(SPEC)  # docs/ is not a package
SPEC.loader.exec_module(make_api)

EXTRAS = {
    "structlog": "structlog",
    "prometheus": "prometheus_client",
    "opentelemetry": "opentelemetry",
}

METHODS = {name for name in dir(edr.Bus) if not name.startswith("_")}
COPIED = sorted(set(edr.__all__) & METHODS - {"explain"})  # edr.explain does not use a bus


def module_named(name):
    if name.startswith("edr.adapters."):
        leaf = name.rpartition(".")[2]
        pytest.importorskip(EXTRAS.get(leaf, "edr"))
    return importlib.import_module(name)


def public(module):
    """Return the public names of a module, and of the modules among them."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    shown = {name: getattr(module, name) for name in names}
    for name, value in list(shown.items()):
        if isinstance(value, ModuleType):
            shown |= {f"{name}.{inner}": each for inner, each in public(value).items()}
    return {name: value for name, value in shown.items() if not isinstance(value, ModuleType)}


def methods(cls):
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if (
            not name.startswith("_")
            and inspect.isfunction(function)
            and function.__module__.startswith("edr")
        ):
            yield name, function


def sections_of(page):
    """Return the text below each heading that is a name."""
    text = (make_api.API / f"{page}.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^#{3,4} `([\w.]+)`$", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(text):
    return " ".join(re.findall(r"\w+", text))


@pytest.mark.parametrize("path", make_api.pages(), ids=lambda path: path.name)
def test_a_page_is_what_the_generator_writes(path):
    written = path.read_text(encoding="utf-8")

    assert written == make_api.pages()[path], "run python docs/make_api.py"


@pytest.mark.parametrize("name", make_api.PAGES)
def test_a_page_has_each_public_name_with_its_docstring(name):
    sections = sections_of(name)
    for shown, value in public(module_named(name)).items():
        assert shown in sections
        if inspect.isfunction(value) or inspect.isclass(value):
            assert words(inspect.getdoc(value) or "") in words(sections[shown]), shown


@pytest.mark.parametrize("name", make_api.PAGES)
def test_a_page_has_each_public_method_with_its_docstring(name):
    sections = sections_of(name)
    for shown, value in public(module_named(name)).items():
        for method, function in methods(value) if inspect.isclass(value) else ():
            if function.__name__ != method:  # a second name of another method
                assert f"`{method} = {function.__name__}`" in sections[shown]
                continue
            text = sections[f"{shown}.{method}"]
            assert words(inspect.getdoc(function) or "") in words(text), f"{shown}.{method}"
            for parameter in list(inspect.signature(function).parameters)[1:]:
                assert re.search(rf"\b{parameter}\b", text.partition("```\n")[0])


@pytest.mark.parametrize("name", COPIED)
def test_a_module_function_has_its_methods_docstring_in_the_source(name):
    tree = ast.parse(make_api.DEFAULT_BUS.read_text(encoding="utf-8"))
    source = {node.name: node for node in tree.body if isinstance(node, make_api.Function)}
    first, _, rest = inspect.getdoc(getattr(edr.Bus, name)).partition("\n\n")
    text = ast.get_docstring(source[name])

    assert text.startswith(f"{first}\n\n{make_api.NOTE}"), "run python docs/make_api.py"
    assert text.endswith(rest)


def test_no_name_of_edr_has_an_empty_section():
    assert all(words(text) for text in sections_of("edr").values())


def test_the_functions_are_compared_with_something():
    assert {"emit", "subscribe", "bind", "on"} <= set(COPIED)
