import json
import re

import pytest
from support.terminal import Pipe, Terminal

from edr.cli.event_lines import EventLines
from edr.cli.output import Output, OutputFlags
from edr.wire.logfmt import encode


def lines_on(stream, columns=200, **flags):
    flags.setdefault("utc", True)
    environ = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    return EventLines(Output(OutputFlags(**flags), stdout=stream, environ=environ))


@pytest.fixture
def shown(make_event):
    """Return the JSON of an event, as a process sends it."""

    def shown(*args, **fields):
        return json.loads(make_event(*args, **fields).to_json())

    return shown


def test_event_has_its_columns(shown):
    terminal = Terminal()
    body = {"event": "agent", "queue": {"id": "q7"}, "note": "a b"}

    lines_on(terminal).event(shown("acdc", "warning", "warn", body=body, account_id="branch"))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} ▲ warning  warn   acdc  branch  "
        r'event=agent queue.id=q7 note="a b"',
        terminal.lines[-1],
    )


def test_event_without_an_account_has_no_column_for_it(shown):
    terminal = Terminal()
    lines_on(terminal).event(shown(timestamp="2026-01-31T12:00:00.999999Z", body={"n": 1}))

    assert terminal.lines[-1] == "12:00:00.999 · ok       info   app  n=1"


def test_wrapped_event_continues_below_its_severity(shown):
    terminal = Terminal()
    lines_on(terminal, 60, wrap=True).event(shown(body={"a": "x" * 20, "b": "y" * 20}))

    assert terminal.lines[-1] == " " * 13 + "b=" + "y" * 20


def test_text_that_looks_like_a_number_is_quoted(shown):
    terminal = Terminal()
    body = {"a": "30", "b": 30, "c": "true", "d": None, "e": {"f": "-1.5e3"}, "g": "30s"}
    lines_on(terminal).event(shown(body=body))

    assert terminal.lines[-1].endswith('a="30" b=30 c="true" d=null e.f="-1.5e3" g=30s')


def test_event_is_wrapped_on_request(shown):
    terminal = Terminal()
    lines_on(terminal, 60).event(shown(body={"a": "x" * 20, "b": "y" * 20}), wrapped=True)

    assert terminal.lines[-1] == " " * 13 + "b=" + "y" * 20


@pytest.mark.parametrize(("severity", "shape"), [("ok", "·"), ("warning", "▲"), ("critical", "■")])
def test_severity_has_a_shape(shown, severity, shape):
    terminal = Terminal()

    lines_on(terminal).event(shown(severity=severity))
    assert f" {shape} {severity}" in terminal.lines[-1]


def test_columns_widen_with_their_names(shown):
    terminal = Terminal()
    lines = lines_on(terminal)
    for app in ("a", "longer", "a", "x" * 30, "a"):
        lines.event(shown(app, body={"n": 1}))

    ends = [line.index("n=1") for line in terminal.lines[-5:]]
    assert ends[1] == ends[2] == ends[0] + 5
    assert ends[4] == ends[0] + 15
    assert ends[3] == ends[0] + 29


def test_wide_names_are_aligned(shown):
    terminal = Terminal()
    lines = lines_on(terminal)
    lines.event(shown("日本", body={"n": 1}))
    lines.event(shown("abcd", body={"n": 1}))

    wide, narrow = terminal.lines[-2:]
    assert wide.index("n=1") == narrow.index("n=1") - 2


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_event_takes_one_line_of_the_terminal(shown, columns):
    terminal = Terminal()

    lines_on(terminal, columns).event(shown(body={"text": "x" * 500}))
    assert len(terminal.lines[-1]) == columns
    assert terminal.lines[-1].endswith("…")


def test_time_in_a_pipe_has_its_date_and_offset(shown):
    pipe = Pipe()

    lines_on(pipe, output="text").event(shown(timestamp="2026-01-31T12:00:00.250000Z"))
    assert pipe.lines[0].startswith("2026-01-31T12:00:00.250Z · ok")


def test_time_is_local_without_the_flag(shown, monkeypatch):
    monkeypatch.setenv("TZ", "UTC-3")
    import time

    time.tzset()
    pipe = Pipe()
    lines_on(pipe, output="text", utc=False).event(shown(timestamp="2026-01-31T12:00:00.25Z"))
    monkeypatch.undo()
    time.tzset()

    assert pipe.lines[0].startswith("2026-01-31T15:00:00.250+03:00 ")


def test_date_is_written_when_it_changes(shown):
    terminal = Terminal()
    lines = lines_on(terminal)
    for time in ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z", "2026-02-01T00:00:00Z"):
        lines.event(shown(timestamp=time))

    assert [line for line in terminal.lines if line.startswith("──")] == [
        "── Saturday 2026-01-31 ──",
        "── Sunday 2026-02-01 ──",
    ]


def test_events_of_today_have_no_date(shown):
    terminal = Terminal()

    lines_on(terminal).event(shown())
    assert len(terminal.lines) == 1


def test_json_is_the_event_itself(shown):
    pipe = Pipe()
    event = shown(body={"text": "ü\n"})

    lines_on(pipe).event(event)
    assert json.loads(pipe.lines[0]) == event


@pytest.mark.parametrize("body", [{"a": {"b": "c d"}}, {}])
def test_logfmt_is_that_of_the_wire(make_event, body):
    pipe = Pipe()
    event = make_event(body=body, account_id="acme")

    lines_on(pipe, output="logfmt").event(json.loads(event.to_json()))
    assert pipe.lines == [encode(event).decode()]


@pytest.mark.parametrize(
    ("missed", "reason", "line"),
    [
        (312, "slow", "── 312 events lost here: this terminal was slower than the stream ──"),
        (1, "expired", "── 1 event lost here: the process no longer held them ──"),
        (
            None,
            "restarted",
            "── an unknown number of events lost here: the process had restarted ──",
        ),
        (2, "\x1b[2J", "── 2 events lost here: \\u001b[2J ──"),
    ],
)
def test_gap_is_a_line(missed, reason, line):
    terminal = Terminal()

    lines_on(terminal).gap(missed, reason)
    assert terminal.lines == [line]


@pytest.mark.parametrize("form", ["json", "logfmt"])
def test_gap_is_a_record_in_other_forms(form):
    pipe = Pipe()

    lines_on(pipe, output=form).gap(312, "slow")
    assert pipe.lines == [
        '{"is":"gap","missed":312,"reason":"slow"}'
        if form == "json"
        else "is=gap missed=312 reason=slow"
    ]


def test_summary_counts_events_and_losses(shown):
    lines = lines_on(Pipe())
    for _ in range(3):
        lines.event(shown())
    lines.gap(1_200, "slow")

    assert lines.summary() == "3 shown, 1,200 lost"

    lines.gap(None, "restarted")

    assert lines.summary() == "3 shown, at least 1,200 lost"


def test_summary_has_no_number_after_unknown_gaps_alone(shown):
    lines = lines_on(Pipe())
    lines.gap(None, "cut off")

    assert lines.summary() == "0 shown, an unknown number lost"


def test_event_cannot_forge_a_line(shown):
    terminal = Terminal()
    name = "a\n12:00:00 ■ critical\x1b[1A"

    lines_on(terminal).event(shown(name, body={"x\n": "\x1b"}, account_id="\u202eb"))
    assert len(terminal.lines) == 1
    assert "\x1b" not in terminal.written
