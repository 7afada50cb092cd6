"""Change the code in one place at a time, and list the changes that no test notices.

python tests/mutate.py edr/bus tests/bus tests/promises --sample 60 --seed 1

Each mutant is one small fault: a comparison or a boolean turned around, a number off by one, a
statement left out, a condition that always or never holds. It is written into a copy of the
checkout, and the tests given run there until the first failure. A mutant that survives is either
a promise without a test or a change without an effect. The exit status is the number of survivors.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TIMEOUT = 300
"""Seconds that the tests of one mutant may take; a mutant that hangs has been noticed."""

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
        case ast.If(test=test):
            yield test, "False"
            yield test, "True"
        case ast.While(test=test):
            yield test, "False"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
            yield node, "pass"


def has_survived(mutant: Mutant, copy: Path, tests: list[str]) -> bool:
    """Run ``tests`` on a copy of the checkout with this one change."""
    path = copy / mutant.path.relative_to(ROOT)
    source = path.read_bytes()
    path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.end :])
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", *tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_bytes(source)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("code", type=Path, help="a module, or a folder of modules")
    parser.add_argument("tests", nargs="+", help="what pytest runs for each mutant")
    parser.add_argument("--sample", type=int, default=50, help="how many mutants (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    arguments = parser.parse_args()

    code = arguments.code.resolve()
    modules = sorted(code.rglob("*.py")) if code.is_dir() else [code]
    mutants = [mutant for module in modules for mutant in mutants_of(module)]
    sample = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "edr"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for number, mutant in enumerate(sorted(sample), 1):
            survived = has_survived(mutant, copy, arguments.tests)
            survivors += survived
            if survived:
                print(f"survived {mutant}", flush=True)
            elif number % 10 == 0:
                print(f"… {number} of {len(sample)}", flush=True)
    print(f"{survivors} of {len(sample)} survived ({len(mutants):,} mutants in all)")
    return min(survivors, 255)


if __name__ == "__main__":
    sys.exit(main())
