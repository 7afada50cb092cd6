"""The program: exit codes, and when it ends by itself."""

import asyncio
import logging
import signal

import pytest

from app.fakes import configuration
from edr.app.application import StopResult
from edr.app.notify import Notifier
from edr.app.program import (
    CONFIGURATION,
    DONE,
    UNFINISHED,
    Program,
    ends_with_input,
    exit_code_of,
    last_handler,
)
from edr.journal import SqliteJournal

STDIN = '[sources.pipe]\ntype = "stdin"\n'
SOCKET = '[sources.local]\ntype = "socket"\npath = "in.sock"\n'
SINK = '[sinks.audit]\ntype = "file"\npath = "audit.jsonl"\n'
LINK = '[links.kapps]\ntype = "nats"\nurl = "nats://h"\n'


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (STDIN + SINK, True),
        (STDIN + SOCKET, False),
        (SOCKET, False),
        (SINK, False),
        (STDIN + LINK + "receive = [{}]\n", False),
        (STDIN + LINK + "send = [{}]\n", True),
    ],
)
def test_the_end_of_the_input_ends_a_program_without_other_sources(text, ends):
    assert ends_with_input(configuration(text)) is ends


def test_lost_events_are_named_in_the_exit(capsys, caplog):
    with caplog.at_level(logging.INFO):
        kept = exit_code_of(StopResult(kept={"audit": 3}))
        lost = exit_code_of(StopResult(lost={"memory": 4000}))

    assert (kept, lost) == (DONE, UNFINISHED)
    assert "audit has 3 entries in the journal for the next start" in caplog.text
    assert capsys.readouterr().err == "edr: events were lost: memory 4,000\n"


async def test_a_faulty_file_starts_nothing(tmp_path, capsys):
    (tmp_path / "edr.toml").write_text("[sinks.audit]\ntype = 'fle'\n")

    assert await Program(tmp_path / "edr.toml").run() == CONFIGURATION
    assert "nothing was started" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["edr.toml"]


async def test_a_journal_in_use_is_temporary_and_names_its_owner(running, tmp_path, capsys):
    from app.conftest import BASIC

    (tmp_path / "edr.toml").write_text(BASIC)
    async with running():
        code = await Program(tmp_path / "edr.toml").run()

    assert code == UNFINISHED
    assert "is open in process" in capsys.readouterr().err


async def test_a_consumer_without_a_part_must_not_block_the_journal(running, tmp_path, capsys):
    text = SOCKET + SINK
    async with running(text):
        pass
    (tmp_path / "edr.toml").write_text('[journal]\nfull = "block"\n' + SOCKET)

    assert await Program(tmp_path / "edr.toml").run() == CONFIGURATION
    assert "sink:audit" in capsys.readouterr().err


async def test_a_reload_that_leaves_a_blocking_consumer_warns(tmp_path):
    block = '[journal]\nfull = "block"\n' + SOCKET
    (tmp_path / "edr.toml").write_text(block + SINK)
    program = Program(tmp_path / "edr.toml")
    running = asyncio.create_task(program.run())
    while program._application is None or program._application.state != "running":
        await asyncio.sleep(0.01)
    (tmp_path / "edr.toml").write_text(block)
    outcome = await program._reload()
    signal.raise_signal(signal.SIGTERM)

    assert await running == DONE
    [warning] = outcome["warnings"]
    assert warning.endswith(f"edr journal forget {tmp_path}/edr-data/journal sink:audit")


def test_the_second_signal_ends_the_first_process_of_a_container(monkeypatch):
    codes = []
    monkeypatch.setattr("os._exit", codes.append)
    last_handler(1)(signal.SIGTERM, None)

    assert codes == [143]
    assert last_handler(2) is signal.SIG_DFL


async def test_a_long_start_is_announced_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("edr.app.program.START_INTERVAL", 0.001)
    (tmp_path / "edr.toml").write_text(SOCKET)
    sent, repaired = [], asyncio.Event()
    open_journal = SqliteJournal.open

    def starting(timeout):
        sent.append(timeout)
        if len(sent) == 3:
            repaired.set()

    async def open_slowly(journal):
        await repaired.wait()
        await open_journal(journal)

    monkeypatch.setattr(SqliteJournal, "open", open_slowly)
    notifier = Notifier({})
    notifier.starting, notifier.ready = starting, lambda: signal.raise_signal(signal.SIGTERM)

    assert await Program(tmp_path / "edr.toml", notifier=notifier).run() == DONE
    assert sent[:3] == [60, 60, 60]


async def test_a_changed_file_is_reloaded_with_watch(tmp_path, monkeypatch):
    monkeypatch.setattr("edr.app.program.WATCH_INTERVAL", 0.01)
    (tmp_path / "edr.toml").write_text(SOCKET)
    program = Program(tmp_path / "edr.toml", watch=True)
    running = asyncio.create_task(program.run())
    while program._application is None or program._application.state != "running":
        await asyncio.sleep(0.01)
    (tmp_path / "edr.toml").write_text(SOCKET + SINK)
    while len(program._application.runners) != 2:
        await asyncio.sleep(0.01)
    signal.raise_signal(signal.SIGTERM)

    assert await running == DONE
