import pytest

import edr
from edr.control import connect, expose
from edr.control.errors import RemoteError
from edr.control.recorded import Recorded
from edr.journal import SqliteJournal


@pytest.fixture
async def recording(tmp_path, folder):
    """A bus with a journal and without a history, with events 0 to 3; 1 and 3 are warnings."""
    async with edr.Bus(
        journal=SqliteJournal(tmp_path / "journal", edr.Binding.everything())
    ) as bus:
        for n in range(4):
            await emit(bus, n)
        yield bus


@pytest.fixture
async def client(recording):
    async with expose(recording, name="x") as exposed, connect(exposed.path) as client:
        yield client


async def emit(bus, n):
    await bus.emit("a", "1", ("ok", "warning")[n % 2], "info", {"n": n})


def numbers(messages):
    return [each["event"]["body"]["n"] for each in messages if each["is"] == "event"]


async def test_tail_shows_the_last_stored_events_that_match(client):
    request = client.request("tail", last=2, follow=False)
    assert numbers([each async for each in request]) == [2, 3]
    request = client.request("tail", last=2, follow=False, bindings=[{"severity": "warning"}])
    messages = [each async for each in request]

    assert numbers(messages) == [1, 3]
    assert messages[-1] == {"id": 2, "is": "end", "shown": 2, "missed": 0}


async def test_tail_continues_with_new_entries(client, recording):
    async with client.request("tail", last=1) as tail:
        first = await anext(tail)
        await emit(recording, 4)
        assert numbers([first, await anext(tail)]) == [3, 4]


async def test_tail_continues_after_a_cursor_of_the_journal(client):
    messages = [each async for each in client.request("tail", last=3, follow=False)]
    request = client.request("tail", after=messages[0]["cursor"], follow=False)

    assert numbers([each async for each in request]) == [2, 3]


async def test_tail_of_a_journal_with_bindings_has_a_note(tmp_path, folder):
    journal = SqliteJournal(tmp_path / "journal", edr.Binding(severity="warning"))
    async with edr.Bus(journal=journal) as bus, expose(bus, name="x") as exposed:
        await emit(bus, 0)
        await emit(bus, 1)
        async with connect(exposed.path) as client:
            messages = [each async for each in client.request("tail", last=5, follow=False)]

    assert (messages[0]["is"], messages[0]["code"]) == ("note", "journal")
    assert numbers(messages) == [1]


async def test_tail_reports_removed_entries(tmp_path, folder):
    journal = SqliteJournal(tmp_path / "journal", edr.Binding.everything(), max_events=300)
    async with edr.Bus(journal=journal) as bus, expose(bus, name="x") as exposed:
        for start in range(0, 1000, 100):
            for n in range(start, start + 100):
                await emit(bus, n)
            await journal.flush()
        async with connect(exposed.path) as client:
            after = f"{Recorded(bus).id}-1"
            messages = [m async for m in client.request("tail", after=after, follow=False)]

    assert (messages[0]["is"], messages[0]["reason"]) == ("gap", "expired")
    assert numbers(messages) == [*range(1 + messages[0]["missed"], 1000)] != []


async def test_explain_reads_the_journal(client):
    request = client.request("explain", last=2, bindings=[{"severity": "warning"}])
    explained = [each["event"]["body"] async for each in request if each["is"] == "event"]

    assert explained == [{"n": 1}, {"n": 3}]


async def test_explain_says_that_no_stored_event_matches(client):
    with pytest.raises(RemoteError) as raised:
        await client.ask("explain", last=1, bindings=[{"app_name": "other"}])
    assert raised.value.code == "not_found"


async def test_last_and_wanted_exclude_each_other(client):
    with pytest.raises(RemoteError, match="exclude each other"):
        async for _ in client.request("tail", last=1, wanted=True, follow=False):
            pass
