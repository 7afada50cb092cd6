"""The index of promises is right: each names tests, and each of these exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!Promise \|)([^|]+) \| (.+) \|$", INDEX, re.MULTILINE)


@cache
def names_in(path):
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize(("promise", "held_by"), ROWS)
def test_the_tests_of_a_promise_exist(promise, held_by):
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", held_by)

    assert named
    assert " ".join(f"`{path}::{name}`" for path, name in named) == held_by
    for path, name in named:
        assert name in names_in(path)


def test_each_package_that_states_promises_has_a_part_of_the_index():
    for path in (ROOT / "edr").rglob("__init__.py"):
        stated = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        package = ".".join(path.parent.relative_to(ROOT).parts)
        if "Promises:" in stated:
            assert re.search(rf"^## {re.escape(package)}\b", INDEX, re.MULTILINE), package


def test_no_promise_stands_there_twice():
    assert len(ROWS) == len({promise for promise, _ in ROWS}) > 20
