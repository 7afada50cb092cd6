"""Tables in text: columns that are as wide as their contents."""

from __future__ import annotations

from collections.abc import Sequence

from edr.cli.cells import Segment, padded, width_of, without_last_space
from edr.cli.output import Output
from edr.wire.escaping import one_line


def write_table(
    output: Output,
    heads: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    styles: Sequence[str] = (),
) -> None:
    """Write ``rows`` below ``heads``. On a terminal a long last column is wrapped, and never cut.

    Args:
        output: receives the lines.
        heads: the names of the columns; ``None`` for a table without names. A name that starts
            with a space has its column aligned to the right.
        rows: the cells. Control characters are escaped before their width is taken.
        styles: a style for the first cell of each row; none by default.
    """
    lines = [list(map(one_line, row)) for row in rows]
    is_right = [name.startswith(" ") for name in heads or ()]
    if heads is not None:
        lines.insert(0, [name.strip() for name in heads])
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    for number, line in enumerate(lines, 0 if heads is not None else 1):
        segments: list[Segment] = []
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            if is_right and is_right[column]:
                text = " " * (width - width_of(cell)) + cell
            else:
                text = cell if column == len(line) - 1 else padded(cell, width)
            style = "bold" if number == 0 else ""
            if number and column == 0 and styles:
                style = styles[number - 1]
            segments += [("  ", ""), (text, style)]
        output.text(*without_last_space(segments[1:]), indent=indent, wrapped=True)
