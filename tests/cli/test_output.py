import json

import pytest
from support.terminal import Pipe, Terminal

from edr.cli.exits import CommandError, Exit, OutputClosedError
from edr.cli.output import SYMBOLS, Output, OutputFlags, json_text, logfmt
from edr.wire.logfmt import encode


def output_on(stdout, columns=None, *, stderr=None, environ=None, **flags):
    environ = {} if environ is None else environ
    if columns is not None:
        environ["COLUMNS"] = str(columns)
    return Output(OutputFlags(**flags), stdout=stdout, stderr=stderr or Terminal(), environ=environ)


def test_auto_is_text_on_a_terminal_and_json_in_a_pipe():
    assert output_on(Terminal()).form == "text"
    assert output_on(Pipe()).form == "json"


@pytest.mark.parametrize("form", ["text", "json", "logfmt"])
def test_form_of_the_flag_holds_everywhere(form):
    assert output_on(Terminal(), output=form).form == form
    assert output_on(Pipe(), output=form).form == form


def test_long_line_is_cut_at_the_edge_of_a_terminal():
    terminal = Terminal()

    output_on(terminal, 10, environ={"NO_COLOR": "1"}).text(("123456789012", ""))
    assert terminal.written == "123456789…\n"


def test_long_line_is_wrapped_with_the_flag():
    terminal = Terminal()

    output_on(terminal, 10, environ={"NO_COLOR": "1"}, wrap=True).text(("one two three", ""))
    assert terminal.lines == ["one two", "    three"]


def test_long_line_is_complete_in_a_pipe():
    pipe = Pipe()

    output_on(pipe, 10, output="text", wrap=True).text(("1234567890" * 50, "bold"))
    assert pipe.written == "1234567890" * 50 + "\n"


def test_width_follows_the_terminal():
    environ = {}
    output = output_on(Terminal(), 80, environ=environ)
    environ["COLUMNS"] = "120"

    assert output.width == 120


def test_terminal_without_a_size_has_80_columns():
    assert output_on(Terminal()).width == 80
    assert output_on(Terminal(), "wide").width == 80
    assert output_on(Pipe()).width is None


@pytest.mark.parametrize(
    ("stream", "environ", "is_colored"),
    [
        (Terminal, {"TERM": "xterm"}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Pipe, {}, False),
        (Pipe, {"FORCE_COLOR": "1"}, True),
    ],
)
def test_color_depends_on_the_stream_and_the_environment(stream, environ, is_colored):
    stdout, stderr = stream(), stream()
    output = output_on(stdout, stderr=stderr, environ=environ, output="text")
    output.text(("late", "critical"))
    output.message("late", "critical")

    expected = "\x1b[1;31mlate\x1b[0m\n" if is_colored else "late\n"
    assert (stdout.written, stderr.written) == (expected, expected)


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\u202e", "\x07", "\r", "\u2028"])
def test_no_text_controls_the_terminal(text):
    stdout, stderr = Terminal(), Terminal()
    for form in ("text", "json", "logfmt"):
        output = output_on(stdout, 200, stderr=stderr, environ={"NO_COLOR": "1"}, output=form)
        output.text((text, "")) if form == "text" else output.record({text: text})
        output.message(text)

    assert text[0] not in stdout.written + stderr.written
    assert stdout.written.count("\n") == 3


def test_line_feed_in_a_text_does_not_break_the_line():
    terminal = Terminal()

    output_on(terminal, 80, environ={"NO_COLOR": "1"}).text(("a\nb", ""))
    assert terminal.lines == [r"a\u000ab"]


def test_message_with_line_feeds_has_several_lines():
    stderr = Terminal()

    output_on(Pipe(), stderr=stderr, environ={"NO_COLOR": "1"}).message("one\ntwo")
    assert stderr.lines == ["one", "two"]


def test_message_is_skipped_when_stderr_is_closed():
    stderr = Terminal()
    stderr.close()

    output_on(Pipe(), stderr=stderr).message("nothing reads this")


def test_symbols_are_ascii_on_a_terminal_of_another_encoding():
    assert output_on(Terminal()).symbol("critical") == "■"
    for meaning in SYMBOLS:
        assert output_on(Terminal("latin-1")).symbol(meaning).isascii()


class BrokenStream(Pipe):
    def close(self):
        """Do nothing: the garbage collector closes it too, and Python 3.13 reports its errors."""


class ClosedPipe(BrokenStream):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_closed_pipe_raises_output_closed():
    output = output_on(ClosedPipe())

    with pytest.raises(OutputClosedError):
        output.record({})


def test_closed_pipe_raises_output_closed_when_flushed():
    class ClosedAtFlush(BrokenStream):
        def flush(self):
            raise BrokenPipeError

    output = output_on(ClosedAtFlush())
    output.record({})

    with pytest.raises(OutputClosedError):
        output.flush()


def test_full_disk_is_reported():
    class Full(Pipe):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(CommandError, match="cannot be written: No space left") as raised:
        output_on(Full()).record({})
    assert raised.value.exit is Exit.UNAVAILABLE


def test_bindings_are_json_on_a_terminal_of_another_encoding():
    terminal = Pipe("ascii")

    output_on(terminal).bindings([{"app_name": "ü"}])
    assert json.loads(terminal.written) == {"app_name": "ü"}


def test_record_is_one_line_of_json():
    pipe = Pipe()

    output_on(pipe).record({"name": "ü\n\x1b", "pids": [1, 2]})
    assert json.loads(pipe.lines[0]) == {"name": "ü\n\x1b", "pids": [1, 2]}
    assert pipe.lines == [json_text({"name": "ü\n\x1b", "pids": [1, 2]})]


def test_logfmt_flattens_objects():
    record = {"name": "a b", "counts": {"lost": 2, "by": {}}, "pids": [1], "path": None}

    assert logfmt(record) == 'name="a b" counts.lost=2 counts.by="{}" pids="[1]" path=null'


def test_logfmt_equals_that_of_the_wire(make_event):
    body = {"a b": "x=y", "n": {"deep": [1, "\x1b"], "none": None, "empty": {}}, "t": "ü", "%": ""}
    event = make_event(body=body)

    assert encode(event).decode().endswith(logfmt({"body": body}))


def test_json_has_its_own_escapes_where_the_output_is_not_utf_8():
    pipe = Pipe("ascii")
    Output(stdout=pipe).record({"name": "größer"})

    assert pipe.lines == ['{"name":"gr\\u00f6\\u00dfer"}']
