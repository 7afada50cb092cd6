"""edr dead: list, retry and drop dead letters."""

from datetime import UTC, datetime

import pytest

from edr.app.config import load
from edr.app.dead_letters import dead_letters_of
from edr.cli.exits import Exit
from edr.journal import Entry
from edr.sinks.sending import Refused

TEXT = '[sinks.audit]\ntype = "file"\npath = "audit.jsonl"\n'


@pytest.fixture
async def letters(tmp_path, make_event):
    """Three dead letters of the sink audit, one of them critical."""
    (tmp_path / "edr.toml").write_text(TEXT)
    letters = dead_letters_of(load(tmp_path / "edr.toml"), "audit")
    events = [make_event(severity=each, body={"n": 1}) for each in ("ok", "ok", "critical")]
    await letters.append(
        "audit",
        [Refused(Entry(n, datetime.now(UTC), event), "no", 1) for n, event in enumerate(events, 1)],
    )
    return letters


@pytest.fixture
def dead(command, tmp_path):
    return lambda action, *words: command("dead", action, str(tmp_path / "edr.toml"), *words)


async def test_ls_prints_each_letter(dead, letters):
    records = (await dead("ls")).records
    text = (await dead("ls", "audit", "-s", "critical", "-o", "text")).lines

    assert [each["position"] for each in records] == [1, 2, 3]
    assert {each["sink"] for each in records} == {"audit"}
    assert len(text) == 2  # with the heads


async def test_ls_without_letters_says_so(dead, letters, tmp_path):
    letters.remove(lambda _: True)

    assert (await dead("ls", "-o", "text")).err == "there are no dead letters\n"


async def test_retry_delivers_and_removes_them(dead, letters, tmp_path):
    result = await dead("retry", "audit")

    assert (result.code, result.err) == (Exit.DONE, "3 events delivered, 0 left\n")
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 3
    assert list(letters.read()) == []


async def test_retry_exits_with_1_if_letters_are_left(dead, letters, tmp_path):
    (tmp_path / "audit.jsonl").symlink_to("elsewhere")
    result = await dead("retry", "audit")

    assert result.code == Exit.NO
    assert result.err.startswith("0 events delivered, 3 left\nedr: ")


async def test_drop_removes_the_named_letters_only(dead, letters):
    result = await dead("drop", "audit", "-s", "critical")

    assert result.err == "1 dead letter removed\n"
    assert [letter.position for letter in letters.read()] == [1, 2]


async def test_drop_needs_a_filter_or_all(dead, letters):
    refused = await dead("drop", "audit")
    removed = await dead("drop", "audit", "--all")

    assert refused.code == Exit.USAGE
    assert removed.err == "3 dead letters removed\n"


async def test_a_sink_must_be_in_the_configuration(dead, letters):
    result = await dead("retry", "adit")

    assert result.code == Exit.NO
    assert "audit" in result.err
