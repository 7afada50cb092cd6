"""Change the code in one place at a time, and list the changes that no test notices.

python tests/mutate.py edr/bus edr/errors.py --tests tests/bus tests/promises --sample 20

Each mutant is one small fault: a comparison or a boolean turned around, a number off by one, a
statement left out, a condition that always or never holds. It is written into a copy of the
checkout, and the tests given run there until the first failure: those in files of the module's name
first. A mutant that survives is either a promise without a test or a change without an effect. The
exit status is the number of survivors.

Each run is a fork of this process, which has imported pytest and what else edr and its tests use.
The copy has compiled modules from a first run without a change, which must pass. So a mutant takes
little more than its tests take.
"""

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
TIMEOUT = 300
"""Seconds that the tests of one mutant may take; a mutant that hangs has been noticed."""

IMPORTED_BEFORE = ("_pytest.main", "trio", "pydantic", "hypothesis.strategies", "orjson", "asyncio")
"""What every run uses and no mutant changes."""

OPTIONS = ["-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--timeout", "30"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
"""The last, because plugins have been imported already."""

SWAPS: dict[type[ast.AST], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.And: "or",
    ast.Or: "and",
    ast.Add: "-",
    ast.Sub: "+",
}


class Mutant(NamedTuple):
    """One change: the text of ``path`` from ``start`` to ``end`` becomes ``new``."""

    path: Path
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split())[:70] for text in (self.old, self.new))
        return f"{self.path.relative_to(ROOT)}:{self.line}: {old!r} -> {new!r}"


def modules_of(paths: list[Path]) -> Iterator[Path]:
    """Yield the modules among ``paths``, and those in folders among them."""
    for path in paths:
        yield from sorted(path.resolve().rglob("*.py")) if path.is_dir() else [path.resolve()]


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for parent in ast.walk(ast.parse(source)):
        for node, new in changes(parent):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            yield Mutant(path, node.lineno, start, end, source[start:end].decode(), new)


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield each change of ``node``: the node whose text is replaced, and the new text."""
    match node:
        case (
            ast.Compare(left=left, ops=[operator], comparators=[right])
            | ast.BinOp(left=left, op=operator, right=right)
        ) if new := SWAPS.get(type(operator)):
            yield node, f"({ast.unparse(left)} {new} {ast.unparse(right)})"
        case ast.BoolOp(op=operator, values=values):
            parts = [f"({ast.unparse(each)})" for each in values]
            yield node, f"({f' {SWAPS[type(operator)]} '.join(parts)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() as value):
            yield node, str(not value)
        case ast.Constant(value=int() as value):
            yield node, f"({value + 1})"
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case ast.If(test=test):
            yield test, "False"
            yield test, "True"
        case ast.While(test=test):
            yield test, "False"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
            yield node, "pass"


def has_survived(mutant: Mutant, copy: Path, tests: list[str]) -> bool:
    """Run ``tests`` on a copy of the checkout with this one change, the likeliest of them first."""
    path = copy / mutant.path.relative_to(ROOT)
    source, times = path.read_bytes(), path.stat()
    path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.end :])
    # Python tells by the time of a source whether its compiled form is of that source.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 60_000_000_000))
    try:
        nearest = [str(file) for file in files_of(path, copy, tests)]
        return not (nearest and has_failed(copy, nearest)) and not has_failed(copy, tests)
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def files_of(module: Path, copy: Path, tests: list[str]) -> Iterator[Path]:
    """Yield the test files among ``tests`` that have the name of ``module``."""
    for each in (copy / test for test in tests):
        files = sorted(each.rglob("test_*.py")) if each.is_dir() else [each]
        yield from (file for file in files if file.name == f"test_{module.stem}.py")


def has_failed(copy: Path, tests: list[str], *, keep_compiled: bool = False) -> bool:
    """Run ``tests`` in a fork of this process; a run that hangs has failed."""
    run = multiprocessing.get_context("fork").Process(
        target=run_tests, args=(copy, tests, keep_compiled)
    )
    run.start()
    run.join(TIMEOUT)
    if run.is_alive():
        os.killpg(run.pid, signal.SIGKILL)
        run.join()
    return run.exitcode != 0


def run_tests(copy: Path, tests: list[str], keep_compiled: bool) -> None:
    """Run ``tests`` in this process, and end it."""
    os.setpgid(0, 0)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = not keep_compiled
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os._exit(pytest.main([*OPTIONS, *tests]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("code", type=Path, nargs="+", help="modules, and folders of modules")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest runs")
    parser.add_argument("--sample", type=int, default=10, help="mutants per module (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    arguments = parser.parse_args()

    draw = random.Random(arguments.seed)
    sample = []
    for module in modules_of(arguments.code):
        mutants = list(mutants_of(module))
        sample += sorted(draw.sample(mutants, min(arguments.sample, len(mutants))))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "edr"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for each in IMPORTED_BEFORE:
            importlib.import_module(each)
        if has_failed(copy, arguments.tests, keep_compiled=True):
            sys.exit(f"the tests fail without a change: pytest -m 'not slow' {arguments.tests}")
        for number, mutant in enumerate(sample, 1):
            survived = has_survived(mutant, copy, arguments.tests)
            survivors += survived
            if survived:
                print(f"survived {mutant}", flush=True)
            elif number % 10 == 0:
                print(f"… {number} of {len(sample)}", flush=True)
    print(f"{survivors} of {len(sample)} survived")
    return min(survivors, 255)


if __name__ == "__main__":
    sys.exit(main())
