"""The application on a full disk, next to logrotate, with a small journal, and a clock set back."""

import asyncio
import os
import shutil
from functools import partial

import pytest
from support.consuming import until
from support.http_receiver import HttpReceiver
from support.small_disk import fill, small_disk

from app.conftest import BASIC, line, numbers_in, send
from app.test_lifecycle import Sender
from edr.app import setup
from edr.sinks import DeadLetters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


# A full disk


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, "4m") as disk:
        yield disk


RETRY = "retry = { base = 0.05, cap = 0.1 }\n"


def large(n):
    return line(n, body={"n": n, "pad": os.urandom(2000).hex()})


def part_of(app, name):
    return next(each.part for each in app.runners if each.name == name)


def state_of(app, part):
    return app.status()[part]["state"]


async def test_full_disk_of_the_journal_refuses_events(running, disk, tmp_path):
    accepted, n = [], 0
    async with running(f'[app]\ndata_dir = "{disk}/data"\n' + BASIC) as app:
        ballast = fill(disk)
        while "not_stored" not in (answer := await send(tmp_path / "in.sock", large(n))):
            accepted.append(n)
            n += 1
        assert state_of(app, "source local") == "waiting"
        ballast.unlink()
        await send(tmp_path / "in.sock", line(-1))  # waits for room
        app.stop()
        result = await app.running

    delivered = numbers_in(tmp_path / "audit.jsonl")
    assert "the disk is full" in answer["not_stored"]["reason"]
    assert result.lost == {}
    # The event that was not stored may have been stored later, and nothing is delivered twice.
    assert delivered in ([*accepted, -1], [*accepted, n, -1])


async def test_full_disk_of_a_sink_delays_no_other_sink(running, disk, tmp_path):
    full = f'[sinks.full]\ntype = "file"\npath = "{disk}/full.jsonl"\n{RETRY}'
    async with running(BASIC + full) as app:
        ballast = fill(disk)
        await send(tmp_path / "in.sock", *map(large, range(50)))
        await until(lambda: len(numbers_in(tmp_path / "audit.jsonl")) == 50)
        await until(lambda: state_of(app, "sink full") == "retrying")
        ballast.unlink()
        await until(lambda: len(numbers_in(disk / "full.jsonl")) == 50)

    assert numbers_in(disk / "full.jsonl") == list(range(50))


async def test_dead_letters_survive_a_full_disk(running, disk, tmp_path):
    async with HttpReceiver() as receiver:
        receiver.default = lambda: 422
        sink = f'[sinks.bad]\ntype = "http"\nurl = "{receiver.url}"\n{RETRY}'
        async with running(f'[app]\ndata_dir = "{disk}/data"\n' + sink + BASIC) as app:
            await part_of(app, "bad").pause()
            await send(tmp_path / "in.sock", *map(large, range(20)))
            ballast = fill(disk)
            await part_of(app, "bad").resume()
            await until(lambda: "dead letters" in str(app.status()["sink bad"]["error"]))
            assert len(numbers_in(tmp_path / "audit.jsonl")) == 20
            ballast.unlink()
            await until(lambda: app.status()["sink bad"]["lost"].get("rejected") == 20)

    letters = [each.event.body["n"] for each in DeadLetters(disk / "data/dead/bad.jsonl").read()]
    assert letters == list(range(20))


# logrotate


@pytest.fixture
def rotated(tmp_path):
    """Run logrotate for the file of the sink, with a setting."""
    if shutil.which("logrotate") is None:
        pytest.skip("logrotate is not installed")

    async def rotate(setting):
        configuration = tmp_path / "logrotate.conf"
        configuration.write_text(f"{tmp_path}/*.jsonl {{\nrotate 1000\nmissingok\n{setting}\n}}\n")
        command = ("logrotate", "-f", "-s", str(tmp_path / "state"), str(configuration))
        program = await asyncio.create_subprocess_exec(*command)
        assert await program.wait() == 0

    return rotate


def rotated_numbers(tmp_path):
    """Return the numbers in all files of the sink, oldest first."""
    older = sorted(tmp_path.glob("audit.jsonl.*"), key=lambda each: -int(each.suffix[1:]))
    return [n for each in [*older, tmp_path / "audit.jsonl"] for n in numbers_in(each)]


@pytest.mark.parametrize("setting", ["nocreate", "copytruncate"])
async def test_logrotate_rotates_the_file_of_a_sink(running, rotated, tmp_path, caplog, setting):
    sender = Sender(tmp_path / "in.sock")
    async with running(), sender.sending():
        for _ in range(5):
            accepted = len(sender.accepted)
            await until(lambda: len(sender.accepted) > accepted + 50)  # noqa: B023 - ends here
            await rotated(setting)

    delivered = rotated_numbers(tmp_path)
    assert delivered == sorted(set(delivered))
    if setting == "nocreate":  # the other one loses lines
        assert set(sender.accepted) <= set(delivered)
    assert ("truncated" in caplog.text) == (setting == "copytruncate")


# A journal over its limit, and a clock that is set back


FULL = 'journal = {{ max_bytes = "1 MiB", full = "{full}", sync = "process" }}\n'


async def store(running, tmp_path, count):
    """Store large events for a sink that cannot deliver them: 4 KB each, uncompressible."""
    dead = BASIC.replace('"audit.jsonl"', '"missing/audit.jsonl"')
    async with running('journal = { sync = "process" }\n' + dead):
        await send(tmp_path / "in.sock", *map(large, range(count)))


async def test_journal_over_its_limit_reports_lost_events(running, tmp_path):
    await store(running, tmp_path, 600)
    async with running(FULL.format(full="drop_oldest") + BASIC) as app:
        await send(tmp_path / "in.sock", line(-1))
        await until(lambda: -1 in numbers_in(tmp_path / "audit.jsonl"))
        lost = app.status()["sink audit"]["lost"]["retention"]

    delivered = numbers_in(tmp_path / "audit.jsonl")
    missing = [n for n in range(600) if n not in delivered]
    assert delivered == [n for n in range(600) if n not in missing] + [-1]
    assert missing == list(range(missing[0], missing[-1] + 1))
    # Entries that the sink held when the journal removed them count as lost, and were delivered.
    assert 100 < len(missing) <= lost <= missing[-1] + 1


async def test_full_journal_over_its_limit_keeps_unread_events(running, tmp_path):
    await store(running, tmp_path, 600)
    async with running(FULL.format(full="block") + BASIC):
        await send(tmp_path / "in.sock", line(-1))  # waits until the sink has made room

    assert numbers_in(tmp_path / "audit.jsonl") == [*range(600), -1]


async def test_clock_set_back_loses_and_doubles_nothing(running, tmp_path, monkeypatch):
    now = [2e9]
    journal = partial(setup.SqliteJournal, clock=lambda: now[0])
    monkeypatch.setattr(setup, "SqliteJournal", journal)
    text = 'journal = { max_age = "1h" }\n' + BASIC + 'retry = { give_up_after = "1h" }\n'
    for n in range(4):
        async with running(text) as app:
            await send(tmp_path / "in.sock", line(2 * n))
            now[0] -= 86_400 * 400
            await send(tmp_path / "in.sock", line(2 * n + 1))
            assert app.status()["sink audit"]["oldest_age"] >= 0

    assert numbers_in(tmp_path / "audit.jsonl") == list(range(8))
