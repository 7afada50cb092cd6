import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr.sources.lines import LineSplitter


def split(pieces, limit=100):
    splitter = LineSplitter(limit)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.rest()


@given(st.lists(st.binary(max_size=8).map(lambda each: each.replace(b"a", b"\n"))))
def test_lines_do_not_depend_on_the_reads(pieces):
    whole = b"".join(pieces)
    lines = whole.split(b"\n")

    assert split(pieces, limit=len(whole)) == (lines if lines[-1] else lines[:-1])


@pytest.mark.parametrize("size", [1, 3, 50])
def test_long_line_is_marked_and_the_next_one_read(size):
    data = b"12345\n123456\n" + b"x" * 30 + b"\n1\n"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    assert split(pieces, limit=5) == [b"12345", None, None, b"1"]


def test_long_last_line_is_marked():
    assert split([b"1234", b"56"], limit=5) == [None]


def test_long_line_is_not_kept_in_memory():
    splitter = LineSplitter(limit=10)
    for _ in range(100):
        splitter.feed(b"x" * 10)

    assert splitter._parts == []
