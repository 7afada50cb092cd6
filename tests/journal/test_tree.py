import sqlite3

import pytest

from edr.journal.cells import INTERIOR, Cells, NoRowError
from edr.journal.schema import PAGE
from edr.journal.tree import Tree, tables

IDS = list(range(0, 30_000, 3))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A table of three levels, with ids that are multiples of 3."""
    path = tmp_path_factory.mktemp("tree") / "db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(rowid, "x" * 1000) for rowid in IDS])
    connection.commit()
    connection.close()
    data = path.read_bytes()

    def page(number):
        return data[(number - 1) * PAGE : number * PAGE].ljust(PAGE, b"\0")

    return tables(page, Cells(page, len(data) // PAGE))["t"]


def ids(tree, places):
    return [tree.cells.rowid(*place) for place in places]


def test_rows_are_in_order_both_ways(tree):
    assert ids(tree, tree.ascending()) == IDS
    assert ids(tree, tree.descending(2**62)) == IDS[::-1]


@pytest.mark.parametrize("start", [0, 1, 3, 1234, 15_000, 29_996, 29_997, 30_000])
def test_rows_begin_at_an_id(tree, start):
    assert ids(tree, tree.ascending(start)) == [rowid for rowid in IDS if rowid >= start]
    assert ids(tree, tree.descending(start)) == [rowid for rowid in reversed(IDS) if rowid < start]


def test_row_is_found_by_its_id(tree):
    found = [tree.find(rowid) for rowid in (0, 9_999, 29_997)]

    assert ids(tree, found) == [0, 9_999, 29_997]
    assert tree.find(10_000) is None
    assert tree.find(40_000) is None


def test_other_table_is_empty(tree):
    assert list(tables(tree._page, tree.cells)["other"].ascending()) == []


def test_page_that_leads_back_to_itself_is_reported():
    page = bytes([INTERIOR]) + bytes(7) + (2).to_bytes(4, "big") + bytes(PAGE - 12)
    circle = Tree(lambda number: page, Cells(lambda number: page, 2), 2)

    with pytest.raises(NoRowError):
        list(circle.ascending())
    with pytest.raises(NoRowError):
        list(circle.descending(9))


def test_page_of_another_kind_is_reported():
    blank = Tree(lambda number: bytes(PAGE), Cells(lambda number: bytes(PAGE), 2), 2)

    with pytest.raises(NoRowError):
        list(blank.ascending())
