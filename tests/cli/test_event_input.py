import io
import sys

import pytest

from edr.cli.event_input import read_events
from edr.cli.exits import CommandError, Exit


def test_json_is_one_event():
    assert list(read_events(' {"a": 1}')) == [("the event", {"a": 1})]


@pytest.mark.parametrize("source", [None, "-"])
def test_stdin_has_an_event_in_each_line(monkeypatch, source):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}\n\n{"is": "gap"}\n{"a": 2}'))

    assert list(read_events(source)) == [
        ("stdin, line 1", {"a": 1}),
        ("stdin, line 4", {"a": 2}),
    ]


def test_bytes_of_stdin_need_no_encoding(monkeypatch):
    text = io.TextIOWrapper(io.BytesIO('{"a": "ü"}\n'.encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", text)

    assert list(read_events("-")) == [("stdin, line 1", {"a": "ü"})]


def test_file_has_an_event_in_each_line(tmp_path):
    path = tmp_path / "events"
    path.write_text('{"a": 1}\n{"a": 2}\n')

    assert [event for _, event in read_events(str(path))] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "stdin, line 1: must be JSON: "),
        ("[1]", "stdin, line 1: must be an object, got an array"),
        ('{"a": NaN}', "stdin, line 1: must be JSON: "),
    ],
)
def test_wrong_line_is_bad_input(monkeypatch, text, message):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    with pytest.raises(CommandError) as raised:
        list(read_events("-"))
    assert message in str(raised.value)
    assert raised.value.exit is Exit.BAD_INPUT


def test_terminal_is_not_waited_for(monkeypatch):
    class Keyboard(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard())

    with pytest.raises(CommandError, match="an event must be given") as raised:
        list(read_events(None))
    assert raised.value.exit is Exit.USAGE
