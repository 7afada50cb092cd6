from hypothesis import given
from hypothesis import strategies as st

from edr.wire.escaping import one_line

UNSAFE = ["\n", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\u202e", "\u2066"]


def test_what_breaks_lines_steers_terminals_or_turns_text_is_escaped():
    for text in UNSAFE:
        assert one_line(f"a{text}b") == f"a\\u{ord(text[0]):04x}{text[1:]}b"


def test_other_text_stays_as_it_is():
    assert one_line('naïve "日本" 🎉\xa0\\') == 'naïve "日本" 🎉\xa0\\'


@given(st.text())
def test_any_text_is_one_line(text):
    assert len(one_line(f"a{text}b").splitlines()) == 1
