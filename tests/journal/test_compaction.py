import pytest
from hypothesis import given
from hypothesis import strategies as st

from edr.journal.codec import MAX_BLOCK_ENTRIES, Row
from edr.journal.compaction import BYTES_PER_ENTRY, MERGE_COUNT, compacted

KEY = (None, (), "app", "1", "node", "ok", "info")
SMALL = b""
LARGE = bytes(MAX_BLOCK_ENTRIES * BYTES_PER_ENTRY)


def appended(commits):
    """Commit rows of these bytes; return the blocks that are there, and what was written."""
    blocks, small_blocks, position, written = {}, [], 1, []
    for commit in commits:
        change = compacted(small_blocks, position, [(Row(KEY, data), 0) for data in commit])
        for first in change.remove:
            del blocks[first]
        written.append(0)
        for piece in change.insert:
            assert piece.first not in blocks
            blocks[piece.first] = [row.data for row, _ in piece.recorded]
            written[-1] += len(piece.recorded)
        small_blocks, position = change.small_blocks, position + len(commit)
        assert all(
            blocks[piece.first] == [row.data for row, _ in piece.recorded] for piece in small_blocks
        )
    there = [data for first in sorted(blocks) for data in blocks[first]]
    assert there == [data for commit in commits for data in commit]
    assert all(len(block) <= MAX_BLOCK_ENTRIES for block in blocks.values())
    return blocks, position - 1, written


def numbered(sizes):
    numbers = iter(range(1, sum(sizes) + 1))
    return [[b"%d" % next(numbers) for _ in range(size)] for size in sizes]


@given(st.lists(st.integers(1, 600), max_size=60))
def test_every_entry_is_in_one_block_at_its_position(sizes):
    blocks, last, _ = appended(numbered(sizes))

    assert [int(n) for first in sorted(blocks) for n in blocks[first]] == list(range(1, last + 1))
    assert all(int(blocks[first][0]) == first for first in blocks)
    assert all(len(block) <= MAX_BLOCK_ENTRIES for block in blocks.values())


@pytest.mark.slow
def test_one_at_a_time_makes_full_blocks_and_writes_each_thrice():
    blocks, last, written = appended(numbered([1] * 10_000))

    assert sum(written) <= 3 * last
    assert len(blocks) <= last / MAX_BLOCK_ENTRIES + 2 * MERGE_COUNT


@pytest.mark.slow
@given(st.integers(1, 255))
def test_few_blocks_stay_small(size):
    # The worst is 129 entries at a time: two are too many for one block.
    blocks, last, written = appended([[SMALL] * size] * 150)

    assert len(blocks) <= 2 * last / MAX_BLOCK_ENTRIES + 2 * MERGE_COUNT
    assert sum(written) <= 3 * last


def test_small_and_middling_commits_in_turns_are_merged_too():
    blocks, last, written = appended([[SMALL], [SMALL] * 20] * 300)

    assert len(blocks) <= 2 * last / MAX_BLOCK_ENTRIES + 2 * MERGE_COUNT
    assert sum(written) <= 3 * last


SIZES = st.sampled_from(
    [0, 100, BYTES_PER_ENTRY, 10 * BYTES_PER_ENTRY, 100 * BYTES_PER_ENTRY, len(LARGE)]
)


@given(st.lists(st.lists(SIZES.map(bytes), min_size=1, max_size=5), max_size=100))
def test_bytes_of_blocks_and_of_merges_are_bounded(commits):
    most = MAX_BLOCK_ENTRIES * BYTES_PER_ENTRY
    small_blocks, position = [], 1
    for commit in commits:
        change = compacted(small_blocks, position, [(Row(KEY, data), 0) for data in commit])
        for piece in change.insert:
            size = sum(len(row.data) for row, _ in piece.recorded)
            assert size < most or len(piece.recorded) == 1
        for pieces in (change.insert, change.small_blocks):
            assert sum(len(row.data) for piece in pieces for row, _ in piece.recorded) <= (
                2 * MERGE_COUNT * most + sum(map(len, commit))
            )
        small_blocks, position = change.small_blocks, position + len(commit)


def test_a_large_event_is_a_block_and_never_written_again():
    blocks, last, written = appended([[LARGE]] * 300)

    assert len(blocks) == sum(written) == last == 300
