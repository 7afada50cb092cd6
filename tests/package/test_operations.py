"""The manual explains every metric, and every name in it exists."""

import re

from package.test_readme import PAGES

import edr
from edr.adapters.measures import Measures

EXPLAINED = re.findall(r"^\| `(edr_\w+)(?:\{\w+\})?` \|", PAGES["docs/metrics.md"], re.MULTILINE)


def exported():
    suffixes = {"seconds": "_seconds"}
    for each in Measures(edr.Bus()).read():
        name = f"edr_{each.name}{suffixes.get(each.unit, '')}"
        yield f"{name}_total" if each.kind == "counter" else name


def test_each_metric_is_explained_once():
    assert sorted(EXPLAINED) == sorted(exported())


def test_each_metric_that_the_manual_names_exists():
    for page, text in PAGES.items():
        named = set(re.findall(r"`(edr_[a-z_]+)[`{]", text)) - {"edr_bus", "edr_bus_options"}
        assert named <= {*exported(), "edr_event"}, page
