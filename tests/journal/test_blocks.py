import pytest
from contracts.journal import events

from edr.journal.blocks import SqliteBlocks


@pytest.fixture
def table(make_store):
    """Three blocks, at 1, 301 and 601: too large to be merged."""
    store = make_store()
    for n in range(0, 900, 300):
        store.append(events(*range(n, n + 300)))
    store._connection.execute("DELETE FROM blocks WHERE first NOT IN (1, 301, 601)")
    return SqliteBlocks(store._connection)


def firsts(headers):
    return [header.first for header in headers]


@pytest.mark.parametrize(
    ("position", "found"),
    [
        (0, [1, 301, 601]),
        (1, [1, 301, 601]),
        (300, [1, 301, 601]),
        (301, [301, 601]),
        (9999, [601]),
    ],
)
def test_ascending_begins_with_the_block_at_a_position(table, position, found):
    assert firsts(table.ascending(position)) == found


@pytest.mark.parametrize(
    ("before", "found"), [(None, [601, 301, 1]), (601, [301, 1]), (602, [601, 301, 1]), (1, [])]
)
def test_descending_begins_before_a_position(table, before, found):
    assert firsts(table.descending(before)) == found


def test_stored_columns_have_the_size_of_their_block(table):
    keys, rows = table.stored("keys", 301), table.stored("rows", 301)

    assert table.size(301) == len(keys) + len(rows)
    assert (table.stored("keys", 302), table.size(302)) == (None, 0)
