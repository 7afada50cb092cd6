"""The report: RESULTS.md, and the plot of cost against subscriptions.

python -m benchmarks.harness.report    draws growth.svg again, from the figures in RESULTS.md
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.table import Row, Table, format_judged, format_limit

PACKAGES = (
    "pydantic",
    "orjson",
    "uuid-utils",
    "uvloop",
    "blinker",
    "pyee",
    "abxbus",
    "anyio",
    "litestar",
    "broadcaster",
    "nats-py",
    "faststream",
)


def machine() -> str:
    """Say in general terms what was measured on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores"
    cpu = _cpu_name()
    return f"{python} on {system}{f' ({cpu})' if cpu else ''}"


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux; the architecture must do
    return platform.processor()


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


_HOW = """\
Each figure is the median over interleaved rounds. A ratio is taken within each round, to the last
row above that has none; noise is half the distance between the quartiles. Garbage is collected
between samples, not in them."""


def write_results(
    path: Path, tables: Mapping[str, Table], *, took: float, quick: bool = False
) -> None:
    """Write all tables, what they were measured on, and how to repeat it."""
    date = datetime.now(UTC).date().isoformat()
    command = (
        "`python -m benchmarks --quick` (smaller sizes)" if quick else "`python -m benchmarks`"
    )
    parts = [
        "# Benchmark results",
        f"Written by {command} on {date}, in {took / 60:.1f} minutes.",
        f"{machine()}.\n{_versions()}.",
        _HOW,
        "## Targets",
        _targets(tables),
        "## All questions",
        *(table.as_markdown(name) for name, table in tables.items()),
    ]
    if "growth" in tables:
        parts.insert(6, "![Cost of an event against the number of subscriptions](growth.svg)")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _targets(tables: Mapping[str, Table]) -> str:
    """Return all rows that have a target, in one table."""
    head = ["| question | who | value | target | met |", "| --- | --- | ---: | ---: | --- |"]
    lines = [
        _target_line(name, row)
        for name, table in tables.items()
        for row in table.rows
        if row.met is not None
    ]
    return "\n".join([*head, *lines])


def _target_line(name: str, row: Row) -> str:
    met = "yes" if row.met else "**no**"
    return f"| {name} | {row.key} | {format_judged(row)} | {format_limit(row)} | {met} |"


# Mid-tone colours and grey text, on no background: readable on white and on black. Five lines, each
# with its name at its end: more would be looked up in a legend, and none remembered.
_GREY = "#808890"
_LINES = {
    "plain loop over Binding.matches": ("a loop over all bindings", "#e5534b", 1.8, "-"),
    "blinker, each receiver tests, by name": ("blinker,\neach receiver tests", "#d18616", 1.8, "-"),
    "edr, distinct apps": ("edr, keys never seen", "#2f81f7", 2.0, "--"),
    "edr, distinct apps, hot keys": ("edr", "#2f81f7", 3.0, "-"),
    "blinker, send_async, by name": ("blinker, by one exact name", "#57ab5a", 1.8, "-"),
}


def plot(folder: Path) -> None:
    """Draw growth.svg from the figures in RESULTS.md beside it, if matplotlib is installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Text stays text, and the same figures give the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "edr", "font.size": 11})
    figure, axes = plt.subplots(figsize=(9, 5))
    points = list(_points((folder / "RESULTS.md").read_text(encoding="utf-8")))
    for what, (name, colour, width, style) in _LINES.items():
        sizes = [point.at for point in points if point.what == what]
        micros = [point.value / 1e3 for point in points if point.what == what]
        if not sizes:
            continue
        axes.plot(sizes, micros, style, color=colour, lw=width, marker="o", ms=4)
        axes.annotate(
            name,
            (sizes[-1], micros[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
    axes.set(xscale="log", yscale="log", xlabel="subscriptions, of which one wants the event")
    axes.set_ylabel("µs per event")
    axes.grid(visible=True, which="major", color=_GREY, alpha=0.25, lw=0.6)
    axes.tick_params(colors=_GREY, which="both")
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(_GREY)
    for side, spine in axes.spines.items():
        spine.set_color(_GREY)
        spine.set_visible(side in {"left", "bottom"})
    path = folder / "growth.svg"
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


class _Point(NamedTuple):
    what: str
    at: int
    value: float


_UNITS = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}


def _points(results: str) -> Iterator[_Point]:
    for line in results.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1] in _LINES and cells[2].replace(",", "").isdigit():
            number, unit = cells[3].split()
            at, value = (float(each.replace(",", "")) for each in (cells[2], number))
            yield _Point(cells[1], int(at), value * _UNITS[unit])


if __name__ == "__main__":
    plot(Path(__file__).parents[1])
