import sqlite3

import pytest

from edr.journal.cells import Cells, NoRowError, varint
from edr.journal.schema import PAGE


def cells_of(path, *values):
    """The cells of a database with one row in the table on page 2."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    columns = ", ".join(f"c{n}" for n in range(len(values)))
    connection.execute(f"CREATE TABLE t ({columns})")
    connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
    connection.commit()
    connection.close()
    data = path.read_bytes()
    return Cells(
        lambda number: data[(number - 1) * PAGE : number * PAGE].ljust(PAGE, b"\0"),
        len(data) // PAGE,
    )


@pytest.mark.parametrize("size", [0, 1, 3000, 4061, 4062, 9000, 100_000])
def test_row_has_values_of_all_types_and_sizes(tmp_path, size):
    values = (0, 1, -1, 127, -(2**15), 2**23, -(2**31), 2**47, -(2**63), None, b"x" * size)

    assert cells_of(tmp_path / "db", *values).row(2, 0) == (1, list(values))


def test_start_of_a_row_is_read_without_its_further_pages(tmp_path):
    cells = cells_of(tmp_path / "db", 7, 8, b"x" * 100_000)
    pages = []
    page = cells._page
    cells._page = lambda number: pages.append(number) or page(number)

    assert cells.start(2, 0, 2) == [1, 8]
    assert pages == [2]


@pytest.mark.parametrize("page", [b"", b"\xff" * PAGE, b"\x0d\0\0\0\x01\0\0\0\x0f\xff\xff\xff"])
def test_page_without_rows_is_reported(page):
    cells = Cells(lambda number: page.ljust(PAGE, b"\0"), 3)

    with pytest.raises(NoRowError):
        cells.row(2, 0)


def test_row_whose_further_pages_form_a_circle_is_reported(tmp_path):
    cells = cells_of(tmp_path / "db", b"x" * 9000)
    page = cells._page
    cells._page = lambda number: page(number) if number == 2 else (99).to_bytes(4, "big") * 1024

    with pytest.raises(NoRowError):
        cells.row(2, 0)


def test_numbers_of_all_lengths_are_read():
    assert varint(b"\x7f", 0) == (127, 1)
    assert varint(b"\x81\x00", 0) == (128, 2)
    assert varint(b"\xff" * 9, 0) == (2**64 - 1, 9)
