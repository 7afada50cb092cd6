import pytest

from edr.cli.cells import cut, head, padded, width_of, wrap


def text_of(line):
    return "".join(text for text, _ in line)


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("", 0), ("日本", 4), ("é", 1), ("e\u0301", 1), ("a\u200db", 2), ("ｗ", 2)],
)
def test_width_of_counts_cells(text, width):
    assert width_of(text) == width


def test_padded_counts_wide_characters():
    assert padded("日本", 6) == "日本  "
    assert padded("longer", 3) == "longer"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 2, "ab"), ("日本", 3, "日"), ("日本", 4, "日本"), ("e\u0301x", 1, "e\u0301")],
)
def test_head_ends_before_a_character_that_does_not_fit(text, width, expected):
    assert head(text, width) == expected


def test_line_that_fits_is_not_cut():
    assert cut([("abc", "1"), ("de", "")], 5) == [("abc", "1"), ("de", "")]


@pytest.mark.parametrize(("width", "expected"), [(4, "abc…"), (5, "abcd…"), (1, "…")])
def test_cut_line_ends_in_an_ellipsis(width, expected):
    assert text_of(cut([("abc", "1"), ("def", "")], width)) == expected


def test_cut_line_has_at_most_its_width_with_wide_characters():
    for width in range(1, 12):
        assert width_of(text_of(cut([("a日本語b", ""), ("日本", "")], width))) <= width


def test_wrap_breaks_between_words():
    lines = [text_of(line) for line in wrap([("one two ", ""), ("three four", "1")], 10, 2)]

    assert lines == ["one two", "  three", "  four"]


def test_wrapped_line_of_the_full_width_has_no_space_after_it():
    lines = [text_of(line) for line in wrap([("0123456789 next", "")], 10, 2)]

    assert lines == ["0123456789", "  next"]


def test_wrap_breaks_a_word_that_is_longer_than_a_line():
    lines = [text_of(line) for line in wrap([("a", ""), ("0123456789abc", "")], 8, 2)]

    assert "".join(line.strip() for line in lines) == "a0123456789abc"
    assert max(map(len, lines)) <= 8


@pytest.mark.parametrize("width", range(4, 30))
def test_wrapped_lines_have_every_character(width):
    text = "a 日本語 of   words and_a_long_one e\u0301"
    lines = [text_of(line) for line in wrap([(text, "")], width, 4)]

    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(width_of(line.rstrip()) for line in lines) <= width
