"""Ask every question, each in a process of its own, and write down the answers.

python -m benchmarks                    all of it, twenty minutes; writes RESULTS.md, growth.svg
                                        and the tables of figures in README.md and docs/
python -m benchmarks --quick            smaller sizes, a minute or two; writes nothing
python -m benchmarks --save FILE        the figures as JSON
python -m benchmarks --compare FILE     what got slower since that run; exit code 1 if any did
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.harness import figures
from benchmarks.harness.compare import slower_since
from benchmarks.harness.report import machine, plot, write_results
from benchmarks.harness.table import Row, Table

QUESTIONS = (
    "fanout",
    "emit",
    "publish",
    "nobody",
    "growth",
    "keys",
    "subscribe",
    "observers",
    "streams",
    "web",
    "memory",
    "holds",
    "event",
    "latency",
    "replay",
    "loops",
    "patterns",
    "shapes",
    "hostile",
    "links",
    "rabbitmq",
    "import_time",
    "command_start",
    "journal",
    "journal_reads",
    "sinks",
    "application",
)
"""The modules of ``questions``, in the order of the report. Add a new one here."""

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="a run that was saved")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where to write the report")
    arguments = parser.parse_args()

    began = perf_counter()
    tables = {}
    for question in arguments.only:
        asked = perf_counter()
        tables[question] = _ask(question, quick=arguments.quick)
        print(
            tables[question].as_text(), f"({perf_counter() - asked:.0f} s)\n", sep="\n", flush=True
        )
    took = perf_counter() - began
    print(f"{machine()}\n{took:.0f} s{', quick: smaller sizes, more noise' * arguments.quick}")

    # A report of some questions, or of the quick sizes, would pass for one of all.
    folder = arguments.to or (HERE if not arguments.quick and _is_all(tables) else None)
    if folder:
        write_results(folder / "RESULTS.md", tables, took=took, quick=arguments.quick)
        if "growth" in tables:
            plot(folder)
        if folder == HERE:
            figures.main()
    if arguments.save:
        saved = {
            "quick": arguments.quick,
            "machine": machine(),
            "tables": {name: table.to_json() for name, table in tables.items()},
        }
        arguments.save.write_text(json.dumps(saved, indent=1))
    if arguments.compare:
        return _compare(arguments.compare, tables, quick=arguments.quick)
    return 0


def _ask(question: str, *, quick: bool) -> Table:
    module = f"benchmarks.questions.{question}"
    command = [sys.executable, "-m", module, "--json", *(["--quick"] if quick else [])]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603
    if answer.returncode:  # it has told why; the other questions can still be answered
        return Table(f"{module} failed", [Row(module, does="failed, see its output")])
    return Table.from_json(json.loads(answer.stdout))


def _is_all(tables: dict[str, Table]) -> bool:
    return set(tables) == set(QUESTIONS)


def _compare(saved: Path, tables: dict[str, Table], *, quick: bool) -> int:
    document = json.loads(saved.read_text())
    if document["quick"] != quick:
        print(f"{saved} was measured {'with' if document['quick'] else 'without'} --quick")
        return 2
    before = {name: Table.from_json(table) for name, table in document["tables"].items()}
    slower = slower_since(before, tables)
    print("\n".join(slower) if slower else f"nothing got slower since {saved}, beyond the noise")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
