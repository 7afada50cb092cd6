from support.terminal import Pipe, Terminal

from edr.cli.output import Output, OutputFlags
from edr.cli.table import write_table


def lines_of(*arguments, **options):
    pipe = Pipe()
    output = Output(OutputFlags(output="text"), stdout=pipe, environ={})
    write_table(output, *arguments, **options)
    return pipe.lines


def test_columns_are_as_wide_as_their_contents():
    assert lines_of(("NAME", " PID", "PATH"), [("a", "1", "/x"), ("longer", "1234", "/y")]) == [
        "NAME     PID  PATH",
        "a          1  /x",
        "longer  1234  /y",
    ]


def test_table_without_heads():
    assert lines_of(None, [("a", "b"), ("cc", "")]) == ["a   b", "cc"]


def test_wide_characters_are_aligned():
    assert lines_of(None, [("日本", "1"), ("ab", "2")]) == ["日本  1", "ab    2"]


def test_control_characters_are_escaped_before_they_are_measured():
    assert lines_of(None, [("\x1b", "1"), ("ab", "2")]) == [r"\u001b  1", "ab      2"]


def test_long_last_column_is_wrapped_below_itself():
    terminal = Terminal()
    output = Output(OutputFlags(), stdout=terminal, environ={"COLUMNS": "20", "NO_COLOR": "1"})
    write_table(output, None, [("sub a", "lost every event"), ("sub bb", "short")])
    lines = [line.rstrip() for line in terminal.written.splitlines()]
    assert lines == ["sub a   lost every", "        event", "sub bb  short"]


def test_table_without_rows_has_its_heads():
    assert lines_of(("NAME",), []) == ["NAME"]
    assert lines_of(None, []) == []
