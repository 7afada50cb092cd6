import pytest

import edr
from edr import Binding
from edr.app.config import Recorded, dry_run, read, recorded
from edr.errors import InvalidEventError
from edr.journal import SqliteJournal


def event(severity="ok", n=1, verbosity="info"):
    return edr.Event(
        app_name="a", app_version="1", severity=severity, verbosity=verbosity, body={"n": n}
    )


def configuration(*bindings, folder=None):
    text = ", ".join(bindings)
    data = f'sinks.out = {{ type = "stdout", bindings = [{text}] }}'
    return read(data.encode(), folder=folder).configuration


def trial(configuration, *events, **bindings):
    [found] = dry_run(configuration, Recorded(events, bindings))
    return found


def test_matches_of_the_new_bindings_are_counted():
    found = trial(configuration('{ severity = "warning" }'), event(), event("critical"))

    assert (found.events, found.now, found.new) == (2, None, 1)
    assert found.example.severity == "critical"
    assert found.reason is None


def test_the_example_is_an_event_that_only_the_new_bindings_match():
    stored = {"sink:out": [Binding(severity="critical")]}
    events = [event("critical", 1), event("warning", 2), event("critical", 3)]

    [found] = dry_run(configuration('{ severity = "warning" }'), Recorded(events, stored))

    assert (found.now, found.new) == (2, 3)
    assert found.example.body["n"] == 2


def test_the_nearest_mismatch_is_the_reason_if_no_event_matches():
    found = trial(
        configuration('{ severity = "critical", verbosity = "error" }'),
        event("ok"),
        event("ok", verbosity="error"),
    )

    assert found.new == 0
    assert "severity" in found.reason
    assert "verbosity" not in found.reason


def test_no_event_is_a_reason_too():
    assert trial(configuration("{}")).reason == "there is no recorded event"


def test_a_sending_link_is_tried_and_a_receiving_one_is_not():
    text = b"""
        [links.out]
        type = "nats"
        url = "nats://a"
        send = [{}]
        [links.in]
        type = "nats"
        url = "nats://a"
        receive = "wanted"
    """

    found = dry_run(read(text).configuration, Recorded([event()], {}))

    assert [(each.kind, each.name, each.new) for each in found] == [("link", "out", 1)]


@pytest.mark.parametrize("target", ["journal", "journal:2", "FOLDER", "FOLDER:2"])
async def test_a_journal_in_use_is_read(tmp_path, target):
    folder = tmp_path / "edr-data" / "journal"
    folder.parent.mkdir()
    async with SqliteJournal(folder) as journal:
        consumer = await journal.consumer("sink:out", Binding(severity="critical"), start="now")
        await journal.append(*[event(n=n) for n in range(3)])
        past = recorded(target.replace("FOLDER", str(folder)), configuration("{}", folder=tmp_path))
        await consumer.aclose()

    [found] = dry_run(configuration("{}"), past)
    assert (found.events, found.now) == (2 if ":" in target else 3, 0)


def test_a_file_of_events_is_read(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(event().to_json() + b'\n\n{"is":"gap","missed":1}\n' + event().to_json())

    assert trial(configuration("{}"), *recorded(str(file), configuration("{}")).events).new == 2


def test_an_event_for_a_source_is_read(tmp_path):
    line = '{"app_name":"a","app_version":"1","severity":"ok","verbosity":"info","body":{}}'
    (tmp_path / "events.jsonl").write_text(line)

    past = recorded(str(tmp_path / "events.jsonl"), configuration("{}"))

    assert trial(configuration("{}"), *past.events).new == 1


def test_a_line_that_is_not_an_event_is_named(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(event().to_json() + b"\n{}\n")

    with pytest.raises(InvalidEventError, match=r"events\.jsonl, line 2: app_name"):
        dry_run(configuration("{}"), recorded(str(file), configuration("{}")))
