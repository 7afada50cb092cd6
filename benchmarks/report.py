"""The report: RESULTS.md, and the plot of cost against subscriptions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Row, Table, format_judged, format_limit

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
        *(table.as_markdown() for table in tables.values()),
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


# Mid-tone colours and grey text, on no background: readable on white and on black.
_GREY = "#808890"
_STYLES = {
    "edr, distinct apps, hot keys": ("edr, event built", "#2f81f7", 3.0, "-"),
    "edr, distinct apps": ("edr, event built, no key seen twice", "#2f81f7", 2.0, "--"),
    "edr, thresholds of all kinds": ("edr, the same, thresholds of all kinds", "#2f81f7", 1.4, ":"),
    "edr, publish, by name": ("edr, ready event", "#79c0ff", 3.0, "-"),
    "plain loop over Binding.matches": ("loop over all bindings", "#e5534b", 1.8, "-"),
    "blinker, each receiver tests, by name": ("blinker, each receiver tests", "#d18616", 1.8, "-"),
    "abxbus, by name": ("abxbus, by name", "#b083f0", 1.8, "-"),
    "pyee, async handlers, by name": ("pyee, by name", "#57ab5a", 1.4, "-"),
    "blinker, send_async, by name": ("blinker, by name", "#d18616", 1.4, "--"),
    "broadcaster memory://, by name": ("broadcaster, by name", "#39a0a0", 1.4, "-"),
    "litestar channels, memory, by name": ("litestar, by name", "#c96198", 1.4, "--"),
    "floor: dict, deque, future, by name": ("floor: dict and deque, by name", _GREY, 1.4, ":"),
}


def plot(path: Path, growth: Table) -> None:
    """Draw the cost of an event against subscriptions, if matplotlib is installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Text stays text, and the same figures give the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "edr", "font.size": 11})
    figure, axes = plt.subplots(figsize=(9, 5.4))
    for what, (label, colour, width, style) in _STYLES.items():
        points = [(row.at, row.value) for row in growth.rows if row.what == what]
        if points:
            sizes, costs = zip(*points, strict=True)
            micros = [cost / 1e3 for cost in costs]
            axes.plot(sizes, micros, style, color=colour, lw=width, marker="o", ms=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="subscriptions, of which one wants the event")
    axes.set_ylabel("µs per event")
    axes.set_title("Cost of an event against the number of subscriptions", color=_GREY)
    axes.grid(visible=True, which="major", color=_GREY, alpha=0.25, lw=0.6)
    axes.tick_params(colors=_GREY, which="both")
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(_GREY)
    for spine in axes.spines.values():
        spine.set_color(_GREY)
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    for text in legend.get_texts():
        text.set_color(_GREY)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
