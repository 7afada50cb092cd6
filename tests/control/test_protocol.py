import re
from pathlib import Path

from edr.control import protocol


def test_a_request_ends_with_end_or_error():
    assert {"end", "error"} == protocol.FINAL


def test_a_batch_fits_into_a_line():
    assert protocol.MAX_BATCH < protocol.MAX_LINE


def test_each_code_is_a_word_with_a_meaning():
    for code, meaning in protocol.ERRORS.items():
        assert code.replace("_", "a").isalpha()
        assert meaning


def test_the_documentation_has_the_same_table_of_codes():
    page = (Path(__file__).parents[2] / "docs" / "control.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", page.partition("### Error codes")[2], re.MULTILINE
    )

    assert dict(rows) == protocol.ERRORS


def test_each_code_that_is_sent_is_in_the_table():
    sources = Path(protocol.__file__).parent.glob("*.py")
    sent = re.findall(r'RequestError\(\s*"(\w+)"', "".join(map(Path.read_text, sources)))

    assert {*sent} <= protocol.ERRORS.keys()
    assert len({*sent}) == len(protocol.ERRORS)
