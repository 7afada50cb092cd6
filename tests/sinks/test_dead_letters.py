"""The file of dead letters."""

import os
import stat
from datetime import UTC, datetime

import orjson
import pytest
from contracts.journal import event

from edr.journal import Entry
from edr.sinks import DeadLetters
from edr.sinks.sending import Refused


def refused(*numbers, reason="bad"):
    now = datetime.now(UTC)
    return [Refused(Entry(n, now, event(n)), reason, 2) for n in numbers]


def numbers(letters):
    return [each.event.body["n"] for each in letters]


@pytest.fixture
def dead(tmp_path):
    return DeadLetters(tmp_path / "dead" / "s.jsonl", max_size=2000, keep=3)


async def test_a_line_has_the_event_and_the_reason(dead):
    given = refused(7)
    await dead.append("s", given)
    line = orjson.loads(dead.path.read_bytes())

    assert line.pop("at").startswith(str(datetime.now(UTC).year))
    assert line.pop("event") == orjson.loads(given[0].entry.event.to_json())
    assert line == {"sink": "s", "reason": "bad", "attempts": 2, "position": 7}


async def test_letters_are_read_as_they_were_written(dead):
    given = refused(1, 2)
    await dead.append("s", given)
    letters = list(dead.read())

    assert [each.event for each in letters] == [each.entry.event for each in given]
    assert [(each.sink, each.attempts, each.position) for each in letters] == [
        ("s", 2, 1),
        ("s", 2, 2),
    ]


async def test_files_are_of_this_user_only(dead):
    await dead.append("s", refused(1))

    assert stat.S_IMODE(dead.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(dead.path.parent.stat().st_mode) == 0o700


async def test_a_line_is_on_the_disk_before_append_returns(dead, monkeypatch):
    """Mutant: acknowledge before the sync."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    await dead.append("s", refused(1))

    assert synced[-1] == dead.path.stat().st_size


async def test_a_full_file_is_renamed_and_the_oldest_removed(dead, caplog):
    for n in range(30):
        await dead.append("s", refused(n))
    found = numbers(dead.read())

    assert [path.name for path in dead.files()] == [
        *[f"s.jsonl.{n}" for n in (3, 2, 1)],
        "s.jsonl",
    ]
    assert found == list(range(found[0], 30))
    assert found[0] > 0
    assert any("removed the oldest file" in line for line in caplog.messages)


async def test_an_incomplete_line_does_not_spoil_the_next(dead):
    await dead.append("s", refused(1))
    with dead.path.open("ab") as file:
        file.write(b'{"at": "2026')
    await dead.append("s", refused(2))

    assert numbers(dead.read()) == [1, 2]


async def test_removed_letters_are_returned_and_the_others_kept(dead):
    for n in range(12):
        await dead.append("s", refused(n))
    removed = dead.remove(lambda letter: letter.position % 2 == 0)

    assert numbers(removed) == [0, 2, 4, 6, 8, 10]
    assert numbers(dead.read()) == [1, 3, 5, 7, 9, 11]


async def test_a_symbolic_link_is_not_followed(dead, tmp_path):
    dead.path.parent.mkdir()
    dead.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        await dead.append("s", refused(1))


async def test_a_failed_write_leaves_no_part_of_a_line(dead, monkeypatch):
    await dead.append("s", refused(1))
    before = dead.path.read_bytes()

    def fail(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        await dead.append("s", refused(2, 3))

    assert dead.path.read_bytes() == before


def test_nothing_is_read_or_removed_before_the_first_letter(dead):
    assert list(dead.read()) == []
    assert dead.remove(lambda letter: True) == []
