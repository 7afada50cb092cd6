import pytest

from edr.streams import parse_cursor
from edr.streams.cursors import NOWHERE


def test_cursor_text_is_parsed():
    cursor = parse_cursor("9f2c41d0-48113")

    assert cursor == ("9f2c41d0", 48113)
    assert str(cursor) == "9f2c41d0-48113"
    assert parse_cursor(NOWHERE) == ("0", 0)


TOO_LONG = [f"{'a' * 65}-1", f"a-{'9' * 20}", f"a-{'1' * 3000}"]
WRONG = ["", "x", "a-", "-1", "a-1\n", "a--1", "a-1-2", "a b-1", "é-1", "a-١", None, 5, b"a-1"]


@pytest.mark.parametrize("text", [*TOO_LONG, *WRONG])
def test_other_text_is_not_a_cursor(text):
    assert parse_cursor(text) is None
