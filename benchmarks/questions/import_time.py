"""What does `import edr` add to asyncio and pydantic, which a service has anyway?"""

from __future__ import annotations

import subprocess
import sys
from itertools import repeat

from benchmarks.harness.harness import Case, Settings, main, measure_plain
from benchmarks.harness.table import Table


def _importing(what: str, program: str, *, ours: bool = False) -> Case:
    def run(n: int) -> None:
        for _ in repeat(None, n):
            subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603

    return Case(what, run, f"python -c '{program}'", most=4, ours=ours)


# A model makes pydantic import what it puts off until there is one.
MODEL = "import asyncio, pydantic; pydantic.create_model(chr(65), a=int)"


def run(settings: Settings) -> Table:
    cases = [
        _importing("asyncio, and pydantic with a model", MODEL),
        _importing("edr", "import edr", ours=True),
        _importing("pydantic alone", "import pydantic"),
        _importing("nothing", "pass"),
    ]
    return Table(
        "What does `import edr` add to asyncio and pydantic, which a service has anyway?",
        measure_plain(cases, settings),
        per="process",
        notes="Whole processes, from start to end.",
    )


if __name__ == "__main__":
    main(run)
