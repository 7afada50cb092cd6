"""python -m edr.journal, whose module is edr/journal/__main__.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contracts.journal import events

from edr.journal.__main__ import main
from edr.journal.schema import ConsumerState


@pytest.fixture
def journal(make_store):
    """A journal in use: 600 entries, of two apps, and a consumer."""
    store = make_store()
    for n in range(0, 600, 30):
        store.append(events(*range(n, n + 30), app_name="a" if n else "rare"))
    store.make_consumer(ConsumerState("r", "[]", 100, unacked=((90, 1),), last_ack=0))
    return store


def run(capsys, *arguments):
    code = main([str(each) for each in arguments])
    return code, capsys.readouterr().out


def test_ls_tells_what_a_journal_in_use_holds(journal, capsys):
    code, out = run(capsys, "ls", journal.path)

    assert code == 0
    assert journal.id in out
    assert "entries       600\n" in out
    assert "1 to 600" in out


def test_read_gives_entries_as_lines_of_json(journal, capsys):
    def read(*options):
        lines = run(capsys, "read", journal.path, *options)[1].splitlines()
        return [json.loads(line)["event"]["body"]["n"] for line in lines]

    assert read() == list(range(600))
    assert read("--after", 590) == list(range(590, 600))
    assert read("--last", 2) == [598, 599]
    assert read("--binding", '{"app_name": "rare"}') == list(range(30))
    assert read("--since", "2020-01-01") == list(range(600))
    assert read("--since", 1) == []


def test_readers_tells_who_reads(journal, capsys):
    _, out = run(capsys, "consumers", journal.path)

    assert out.splitlines()[1].split()[:5] == ["r", "89", "511", "1", "0"]


def test_verify_finds_a_sound_journal_sound(journal, capsys):
    assert run(capsys, "verify", journal.path) == (0, "sound         600 entries\n")


def test_verify_tells_what_is_damaged_and_what_can_be_saved(journal, capsys):
    (rows,) = journal._connection.execute("SELECT rows FROM blocks WHERE first > 300").fetchone()
    journal.close()
    database = journal.path / "journal.sqlite3"
    data = bytearray(database.read_bytes())
    data[data.index(rows[:20]) + 10] ^= 1
    database.write_bytes(bytes(data))
    code, out = run(capsys, "verify", journal.path)

    assert code == 1
    assert "damaged       30 entries at positions 481 to 510 are lost" in out
    assert "can be saved  570 entries" in out


def test_verify_and_read_show_what_a_salvage_would_save(journal, capsys):
    journal._connection.execute("UPDATE blocks SET last = last + 1 WHERE first = 241")
    before = journal.path.joinpath("journal.sqlite3-wal").read_bytes()

    code, out = run(capsys, "verify", journal.path)
    assert code == 1
    assert "240 entries at positions 241 to 480 are lost" in out
    assert "can be saved  360 entries" in out
    assert main(["read", str(journal.path)]) == 0
    read = capsys.readouterr()
    assert len(read.out.splitlines()) == 360
    assert read.err == "240 entries up to position 480 are lost\n"
    assert journal.path.joinpath("journal.sqlite3-wal").read_bytes() == before


def test_copy_makes_a_copy_of_a_journal_in_use(journal, tmp_path, capsys):
    target = tmp_path / "backup"

    assert run(capsys, "copy", journal.path, target) == (0, "")
    assert run(capsys, "verify", target) == (0, "sound         600 entries\n")
    assert main(["copy", str(journal.path), str(target)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_nothing_there_is_said_plainly_and_once(tmp_path, capsys):
    assert main(["ls", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path}: must be the folder of a journal")
    assert said.count(str(tmp_path)) == 1


def test_a_folder_that_is_missing_is_said_plainly(tmp_path, capsys):
    assert main(["read", str(tmp_path / "no" / "journal")]) == 1
    assert (
        capsys.readouterr().err
        == f"{tmp_path}/no/journal: the folder does not exist; check the path\n"
    )


def test_read_writes_ascii_where_the_output_is_not_utf_8(make_store):
    store = make_store()
    store.append(events(1, app_name="größer"))
    done = subprocess.run(
        [sys.executable, "-m", "edr.journal", "read", store.path],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )

    assert json.loads(done.stdout)["event"]["app_name"] == "größer"


WRITING = """
import itertools, sys, time
from pathlib import Path
from contracts.journal import events
from edr.journal.retention import Limits
from edr.journal.store import BlockStore, ConsumerUpdate
from edr.journal.schema import ConsumerState

store = BlockStore(Path(sys.argv[1]), Limits(max_bytes=1 << 20), full_sync=False,
                   now=lambda: time.time_ns() // 1000, report=print)
store.open()
store.make_consumer(ConsumerState("r", "[]", 0))
for n in itertools.count(0, 10):
    last = store.append(events(*range(n, n + 10), body={"pad": f"{n * 7919:x}" * 40})).first
    store.store_consumers([ConsumerUpdate("r", last, (), 7)], synced=False)
    if n == 3000:
        print("ready", flush=True)
"""


@pytest.mark.slow
def test_a_journal_that_is_written_to_is_sound_at_each_look(tmp_path, capsys):
    path = tmp_path / "journal"
    environment = {**os.environ, "PYTHONPATH": Path(__file__).parents[1].as_posix()}
    command = [sys.executable, "-c", WRITING, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writing:
        try:
            assert writing.stdout.readline() == b"ready\n"
            last = 0
            for _ in range(5):
                code, out = run(capsys, "verify", path)
                assert (code, out.split()[0]) == (0, "sound")
                assert main(["read", str(path)]) == 0
                lines, error = capsys.readouterr()
                entries = [json.loads(line) for line in lines.splitlines()]
                assert error == ""
                # Dense, as they were given, and not behind what was there at the last look.
                assert [each["event"]["body"]["n"] for each in entries] == list(
                    range(entries[0]["position"] - 1, entries[-1]["position"])
                )
                assert entries[-1]["position"] >= last
                last = entries[-1]["position"]
                assert run(capsys, "consumers", path)[0] == 0
        finally:
            writing.kill()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--since",
            "yesterday",
            "must be a time, as 2026-01-31T12:00, or a number of seconds, got",
        ),
        ("--since", "1e400", "must be a time, as 2026-01-31T12:00, or a number of seconds, got"),
        ("--last", "-1", "must be a whole number of 0 or more, got '-1'"),
        ("--after", "x", "must be a whole number of 0 or more, got 'x'"),
    ],
)
def test_a_wrong_option_is_said_in_words(journal, capsys, option, value, message):
    with pytest.raises(SystemExit):
        main(["read", str(journal.path), f"{option}={value}"])
    assert message in capsys.readouterr().err


def test_a_wrong_binding_is_said_plainly(journal, capsys):
    with pytest.raises(SystemExit):
        main(["read", str(journal.path), "--binding", '{"severity": "bad"}'])
    assert "severity" in capsys.readouterr().err


@pytest.mark.slow
def test_it_runs_as_a_module(journal):
    command = [sys.executable, "-m", "edr.journal", "consumers", journal.path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("name")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["read", "consumers"])
def test_it_ends_quietly_when_the_reader_of_its_pipe_has_left(journal, command):
    arguments = [sys.executable, "-m", "edr.journal", command, journal.path]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        reading.stdout.close()
        said = reading.stderr.read()

    assert (reading.returncode, said) == (141, b"")
