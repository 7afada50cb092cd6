from hypothesis import given
from hypothesis import strategies as st

from edr.journal.codec import BLOCK
from edr.journal.trail import FAN, grown


def appended(sizes):
    """Append so many entries at a time; return the blocks that are there, and how often written."""
    blocks, trail, position, written = {}, [], 1, 0
    for size in sizes:
        change = grown(trail, position, [(n, 0) for n in range(position, position + size)])
        for first in change.remove:
            del blocks[first]
        for piece in change.insert:
            assert piece.first not in blocks
            blocks[piece.first] = [event for event, _ in piece.recorded]
            written += len(piece.recorded)
        trail, position = change.trail, position + size
        assert all(blocks[piece.first] == [e for e, _ in piece.recorded] for piece in trail)
    return blocks, position - 1, written


@given(st.lists(st.integers(1, 600), max_size=60))
def test_every_entry_is_in_one_block_at_its_position(sizes):
    blocks, last, _ = appended(sizes)

    assert [n for first in sorted(blocks) for n in blocks[first]] == list(range(1, last + 1))
    assert all(blocks[first][0] == first for first in blocks)
    assert all(len(block) <= BLOCK for block in blocks.values())


def test_one_at_a_time_makes_full_blocks_and_writes_each_thrice():
    blocks, last, written = appended([1] * 10_000)

    assert written <= 3 * last
    assert len(blocks) <= last / BLOCK + 2 * FAN


@given(st.integers(1, 255))
def test_few_blocks_stay_small(size):
    # The worst is 129 entries at a time: two are too many for one block.
    blocks, last, written = appended([size] * 300)

    assert len(blocks) <= 2 * last / BLOCK + 2 * FAN
    assert written <= 3 * last
