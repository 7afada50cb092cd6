import json
import os
import subprocess
import sys
import threading
import time
from itertools import count

import pytest
from contracts.journal import events

import edr
import edr.control
from edr.cli.exits import Exit
from edr.cli.main import main
from edr.journal import JournalFiles, SqliteJournal
from edr.journal.retention import Limits
from edr.journal.schema import ConsumerState
from edr.journal.store import BlockStore


@pytest.fixture
def make_store(tmp_path):
    """Open the store of a journal, as its owner."""
    made = []

    def make(**limits):
        store = BlockStore(
            tmp_path / "journal",
            Limits(**limits),
            full_sync=False,
            now=lambda: time.time_ns() // 1000,
            report=print,
        )
        made.append(store)
        store.open()
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    """A journal in use: 600 entries, of two apps, and a consumer."""
    store = make_store()
    for n in range(0, 600, 30):
        store.append(events(*range(n, n + 30), app_name="a" if n else "rare"))
    store.make_consumer(ConsumerState("r", "[]", 100, unacked=((90, 1),), last_ack=0))
    return store


@pytest.fixture
def run(capsys):
    """Run ``edr journal``; return its exit code, lines of output and messages."""

    def run(*arguments):
        code = main(["journal", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err

    return run


@pytest.fixture
def numbers(run, store):
    """The numbers of the events that ``edr journal read`` prints."""
    return lambda *options: [
        json.loads(line)["event"]["body"]["n"] for line in run("read", store.path, *options)[1]
    ]


def damage(store):
    store._connection.execute("UPDATE blocks SET last = last + 1 WHERE first = 241")


def test_ls_prints_a_summary_of_a_journal_in_use(run, store):
    code, lines, _ = run("ls", store.path, "-o", "text")

    assert code == Exit.DONE
    assert lines[:3] == [
        f"id            {store.id}",
        "entries       600",
        "positions     1 to 600",
    ]
    assert lines[5] == "consumers     r"


def test_ls_prints_json(run, store):
    (line,) = run("ls", store.path)[1]

    summary = json.loads(line)
    assert (summary["id"], summary["entries"], summary["consumers"]) == (store.id, 600, ["r"])


def test_ls_of_an_empty_journal(run, make_store):
    path = make_store().path

    lines = run("ls", path, "-o", "text")[1]
    assert [line.split()[0] for line in lines] == ["id", "entries", "bytes", "consumers"]
    assert json.loads(run("ls", path)[1][0])["since"] is None


def test_read_prints_the_entries_that_its_options_select(numbers):
    assert numbers() == list(range(600))
    assert numbers("--after", 590) == list(range(590, 600))
    assert numbers("--last", 2) == [598, 599]
    assert numbers("-n", 20, "--count", 3) == [580, 581, 582]
    assert numbers("--count", 0) == []
    assert numbers("-a", "rare") == list(range(30))
    assert numbers("-b", "n=17") == [17]
    assert numbers("--binding", '{"app_name": "rare"}', "-n", 1) == [29]
    assert numbers("--since", "2020-01-01") == list(range(600))
    assert numbers("--since", "2d") == list(range(600))
    assert numbers("--since", "2999-01-01") == []


def test_read_without_a_filter_prints_events_of_every_level(run, make_store):
    store = make_store()
    store.append(events(1, verbosity="trace"))

    assert len(run("read", store.path)[1]) == 1
    assert len(run("read", store.path, "-s", "ok")[1]) == 0


def test_read_prints_text(run, store):
    lines = run("read", store.path, "-n", 1, "-o", "text", "--utc")[1]

    assert lines[0].endswith("Z · ok       info   a  n=599")


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("json", '{"is":"gap","position":480,"missed":240,"reason":"damage"}'),
        ("text", "── 240 events lost here: the files of the journal are damaged ──"),
    ],
)
def test_read_shows_lost_entries_in_their_place(run, store, form, line):
    damage(store)
    code, lines, _ = run("read", store.path, "-o", form)

    assert (code, len(lines)) == (Exit.DONE, 361)
    assert lines[240] == line


def test_read_does_not_change_a_damaged_journal_in_use(run, store):
    damage(store)
    before = {file.name: file.read_bytes() for file in store.path.iterdir()}
    run("read", store.path)

    assert {file.name: file.read_bytes() for file in store.path.iterdir()} == before


def test_read_follows_new_entries(run, store):
    has_ended = threading.Event()

    def append():
        for n in count(600):
            store.append(events(n))
            if has_ended.wait(0.001):
                return

    appending = threading.Thread(target=append)
    appending.start()
    try:
        code, lines, messages = run("read", store.path, "--follow", "-n", 2, "--count", 42)
    finally:
        has_ended.set()
        appending.join()

    found = [json.loads(line)["event"]["body"]["n"] for line in lines]
    assert (code, len(found)) == (Exit.DONE, 42)
    assert found == list(range(found[0], found[0] + 42))
    assert messages == "42 shown, 0 lost\n"


def test_verify_of_a_sound_journal(run, store):
    assert run("verify", store.path, "-o", "text")[:2] == (Exit.DONE, ["sound         600 entries"])
    assert json.loads(run("verify", store.path)[1][0])["sound"] == 600


def test_verify_exits_with_1_if_a_journal_is_damaged(run, store):
    damage(store)
    code, lines, _ = run("verify", store.path, "-o", "text")

    assert code == Exit.NO
    assert lines == [
        "damaged       the database; it is salvaged when the journal is opened",
        "damaged       240 entries at positions 241 to 480 are lost",
        "can be saved  360 entries",
    ]
    report = json.loads(run("verify", store.path)[1][0])
    assert report["damaged"] == [{"first": 241, "last": 480, "lost": 240}]
    assert report["needs_salvage"] is True


def test_consumers_are_a_table(run, store):
    head, row = run("consumers", store.path, "-o", "text", "--utc")[1]

    assert head.split("  ")[0] == "name"
    assert row.split() == ["r", "89", "511", "1", "0", "1970-01-01", "00:00:00+0000"]
    (line,) = run("consumers", store.path)[1]
    assert json.loads(line)["lag"] == 511


def test_copy_makes_a_sound_copy_of_a_journal_in_use(run, store, tmp_path):
    target = tmp_path / "backup"

    assert run("copy", store.path, target)[0] == Exit.DONE
    assert run("verify", target)[0] == Exit.DONE
    code, _, message = run("copy", store.path, target)
    assert code == Exit.BAD_INPUT
    assert "exists already" in message


def test_forget_deletes_a_consumer(run, store):
    store.close()
    assert run("forget", store.path, "r")[0] == Exit.DONE

    with JournalFiles(store.path) as files:
        assert files.consumers() == []


def test_forget_of_another_name_lists_the_consumers(run, store):
    code, _, message = run("forget", store.path, "x")

    assert code == Exit.BAD_INPUT
    assert message == f"edr: {store.path} has no consumer 'x'; its consumers: 'r'\n"


def test_forget_names_the_owner_that_is_not_exposed(run, store, monkeypatch, tmp_path):
    monkeypatch.setenv("EDR_RUNTIME_DIR", str(tmp_path / "runtime"))
    code, _, message = run("forget", store.path, "r")

    assert code == Exit.UNAVAILABLE
    assert f"is open in process {os.getpid()}, which is not exposed" in message


@pytest.mark.parametrize("command", ["ls", "read", "verify", "consumers"])
def test_folder_without_a_journal_is_one_line(run, tmp_path, command):
    code, lines, message = run(command, tmp_path)

    assert (code, lines) == (Exit.BAD_INPUT, [])
    assert message.startswith(f"edr: {tmp_path}: must be the folder of a journal")
    assert message.count(str(tmp_path)) == 1
    assert message.count("\n") == 1


def test_missing_folder_is_one_line(run, tmp_path):
    code, _, message = run("read", tmp_path / "no")

    assert code == Exit.BAD_INPUT
    assert message == f"edr: {tmp_path}/no: the folder does not exist; check the path\n"


def test_folder_that_cannot_be_read_is_one_line(run, store, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    code, _, message = run("ls", store.path)

    assert (code, message) == (Exit.BAD_INPUT, f"edr: {store.path}: Permission denied\n")


@pytest.mark.parametrize(
    ("option", "value", "code", "message"),
    [
        ("--since", "yesterday", 2, "must be a time such as 2026-01-31T12:00, or an age such as"),
        ("--since", "1e400", 2, "must be a time such as"),
        ("--last", "-1", 2, "--last must be 0 or more, got -1"),
        ("--after", "x", 2, 'invalid value for --after: unable to convert "x" into int'),
        ("-s", "bad", 2, "-s must be one of ok, warning, critical, got 'bad'"),
        ("--binding", '{"severity": "bad"}', 65, "severity"),
    ],
)
def test_wrong_option_is_one_line(run, store, option, value, code, message):
    exit_code, lines, error = run("read", store.path, f"{option}={value}")

    assert (exit_code, lines) == (code, [])
    assert message in error
    assert error.count("\n") == 1


def start(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "edr", "journal", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | options,
    )


@pytest.mark.slow
def test_text_is_shown_where_the_output_is_not_utf_8(make_store):
    store = make_store()
    store.append(events(1, app_name="größer"))
    with start("read", store.path, PYTHONIOENCODING="ascii") as reading:
        line, _ = reading.communicate()

    assert json.loads(line)["event"]["app_name"] == "größer"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["read", "consumers"])
def test_closed_pipe_is_silent(store, command):
    with start(command, store.path) as reading:
        reading.stdout.close()
        messages = reading.stderr.read()

    assert (reading.returncode, messages) == (Exit.BROKEN_PIPE, b"")


WRITING = """
import itertools, sys, time
from pathlib import Path
from contracts.journal import events
from edr.journal.retention import Limits
from edr.journal.store import BlockStore, ConsumerUpdate
from edr.journal.schema import ConsumerState

store = BlockStore(Path(sys.argv[1]), Limits(max_bytes=1 << 18), full_sync=False,
                   now=lambda: time.time_ns() // 1000, report=print)
store.open()
store.make_consumer(ConsumerState("r", "[]", 0))
for n in itertools.count(0, 10):
    last = store.append(events(*range(n, n + 10), body={"pad": f"{n * 7919:x}" * 40})).first
    store.store_consumers([ConsumerUpdate("r", last, (), 7)], synced=False)
    if n == 3000:
        print("ready", flush=True)
    if n >= 3000:
        time.sleep(0.002)  # or on a busy machine the reader has no time of a core
"""


@pytest.fixture
def busy_journal(tmp_path):
    """A journal to which another process writes all the time."""
    path = tmp_path / "journal"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITING, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writing:
        try:
            assert writing.stdout.readline() == b"ready\n"
            yield path
        finally:
            writing.kill()


@pytest.mark.slow
def test_journal_is_sound_at_each_moment_while_it_is_written(run, busy_journal):
    last = 0
    for _ in range(3):
        assert run("verify", busy_journal)[0] == Exit.DONE
        code, lines, messages = run("read", busy_journal)
        assert (code, messages) == (Exit.DONE, "")
        # Retention may remove entries between the reads of the first blocks.
        entries = [line for line in map(json.loads, lines) if "event" in line]
        found = [each["event"]["body"]["n"] for each in entries]
        assert found[-200:] == list(range(found[-1] - 199, found[-1] + 1))
        assert [each["position"] for each in entries] == [n + 1 for n in found]
        assert found[-1] >= last
        last = found[-1]
        assert run("consumers", busy_journal)[0] == Exit.DONE


@pytest.mark.slow
def test_follow_loses_and_repeats_nothing_while_the_journal_is_written(run, busy_journal):
    code, lines, _ = run("read", busy_journal, "--follow", "-n", 1, "--count", 5000)

    position = None
    for line in map(json.loads, lines):
        if line.get("is") == "gap":  # retention was faster
            position += line["missed"]
        else:
            assert position in (None, line["position"] - 1)
            position = line["position"]
    assert (code, len(lines) >= 5000) == (Exit.DONE, True)


@pytest.mark.slow
def test_interrupted_follow_reports_what_it_has_shown(store):
    with start("read", store.path, "--follow", "-n", 1) as following:
        following.stdout.readline()
        following.send_signal(2)
        messages = following.stderr.read()

    assert (following.returncode, messages) == (Exit.INTERRUPTED, b"1 shown, 0 lost\n")


async def test_forget_asks_the_process_that_has_the_journal_open(bus, command, tmp_path):
    journal = SqliteJournal(tmp_path / "open")
    async with edr.Bus(journal=journal) as owner:
        await (await journal.consumer("mailer")).aclose()
        async with edr.control.expose(owner, name="owner", allow={"sinks"}):
            result = await command("journal", "forget", str(journal.path), "mailer")

            assert (result.code, result.out) == (Exit.DONE, "")
            assert not await journal.consumers()
        async with edr.control.expose(owner, name="owner"):
            await (await journal.consumer("mailer")).aclose()
            result = await command("journal", "forget", str(journal.path), "mailer")
            assert result.code == Exit.NOT_PERMITTED
