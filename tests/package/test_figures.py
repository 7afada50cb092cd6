"""The figures in README.md and docs/ are those of benchmarks/RESULTS.md."""

import pytest
from package.test_readme import ROOT

from benchmarks.harness.figures import BEGIN, Key, pages, read_results

RESULTS = ROOT / "benchmarks" / "RESULTS.md"


@pytest.fixture(scope="module")
def results():
    return read_results(RESULTS.read_text(encoding="utf-8"))


def test_pages_show_the_figures_of_the_results(results):
    for path, text in pages(results):
        assert path.read_text(encoding="utf-8") == text, "run python -m benchmarks.harness.figures"


def test_a_changed_result_changes_the_page(results):
    key = Key("fanout", "edr, publish")
    changed = {**results, key: results[key]._replace(ratio="0.99 ×")}

    (readme, _) = [text for _, text in pages(changed)]

    assert "| 0.99 |" in readme.split(BEGIN)[1]


def test_a_result_without_a_row_is_an_error(results):
    fewer = {key: row for key, row in results.items() if key.question != "nobody"}
    with pytest.raises(KeyError, match="nobody"):
        list(pages(fewer))
