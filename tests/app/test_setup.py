"""An application with a real journal: events of a socket are in a file."""

import stat

import pytest
from support.consuming import until

import edr.control
from app.conftest import BASIC, line, numbers_in, send
from edr.app.setup import make_application
from edr.journal import JournalInUseError


async def test_events_of_a_socket_are_in_a_file_after_the_stop(running, tmp_path):
    async with running() as app:
        answer = await send(tmp_path / "in.sock", *map(line, range(5)))
        app.stop()
        result = await app.running

    assert answer == {"accepted": 5, "refused": []}
    assert numbers_in(tmp_path / "audit.jsonl") == list(range(5))
    assert (result.lost, result.kept) == ({}, {})


async def test_events_of_a_dead_sink_are_delivered_after_the_next_start(running, tmp_path):
    text = BASIC.replace("audit.jsonl", "missing/audit.jsonl")
    async with running(text) as app:
        # The sink is refused at the start. Its own alert is an entry that it examines and skips.
        await until(lambda: app.bus.journal.statistics().last == 1)
        await until(lambda: app.status()["sink audit"]["backlog"] == 0)
        await send(tmp_path / "in.sock", *map(line, range(5)))
        app.stop()
        result = await app.running
    (tmp_path / "missing").mkdir()
    async with running(text):
        pass

    assert result.kept == {"audit": 5}
    assert numbers_in(tmp_path / "missing" / "audit.jsonl") == list(range(5))


async def test_the_application_is_shown_on_its_control_socket(running):
    async with running() as app:
        [found] = edr.control.find("edr")
        async with await edr.control.connect(found.path) as client:
            state = await client.ask("statistics")
        names = {(part["kind"], part["name"], part["state"]) for part in state["parts"]}
        consumers = [each["name"] for each in state["journal"]["consumers"]]
        assert app.is_ready

    assert names == {("sink", "audit", "running"), ("source", "local", "running")}
    assert consumers == ["sink:audit"]


async def test_the_data_folder_is_private(running, tmp_path):
    async with running():
        pass

    assert stat.S_IMODE((tmp_path / "edr-data").stat().st_mode) == 0o700


async def test_a_second_application_does_not_start(running, configured):
    async with running():
        second = make_application(configured(BASIC), reload=None_)
        with pytest.raises(JournalInUseError, match="process"):
            await second.run()


async def None_():  # noqa: N802
    return None


async def test_a_bad_sink_of_five_does_not_stop_the_others(running, tmp_path):
    sinks = "".join(f'[sinks.s{n}]\ntype = "file"\npath = "s{n}.jsonl"\n' for n in range(4))
    bad = '[sinks.bad]\ntype = "file"\npath = "no/such/folder/x"\n'
    async with running(BASIC + sinks + bad):
        await send(tmp_path / "in.sock", *map(line, range(3)))

    assert [numbers_in(tmp_path / f"s{n}.jsonl") for n in range(4)] == [[0, 1, 2]] * 4


async def test_a_rebound_sink_receives_other_events(running, configured, tmp_path):
    async with running() as app:
        await send(tmp_path / "in.sock", line(1), line(2, severity="critical"))
        bound = BASIC + 'bindings = [{ severity = "critical" }]\n'
        result = await app.reload(configured(bound))
        await send(tmp_path / "in.sock", line(3), line(4, severity="critical"))

    numbers = numbers_in(tmp_path / "audit.jsonl")
    assert result.changed == (("rebound", "sink audit"),)
    # Entries from before that were not delivered yet are matched with the new bindings.
    assert [each for each in numbers if each > 2] == [4]
    assert 2 in numbers


async def test_a_replaced_sink_continues_with_the_next_event(running, configured, tmp_path):
    async with running() as app:
        await send(tmp_path / "in.sock", line(1))
        await app.reload(configured(BASIC.replace("audit.jsonl", "other.jsonl")))
        await send(tmp_path / "in.sock", line(2))

    files = [numbers_in(tmp_path / name) for name in ("audit.jsonl", "other.jsonl")]
    assert files[0] + files[1] == [1, 2]


async def test_an_added_sink_stores_events_that_nothing_matched_before(
    running, configured, tmp_path
):
    more = '[sinks.debug]\ntype = "file"\npath = "debug.jsonl"\n'
    more += 'bindings = [{ verbosity = "debug" }]\n'
    async with running() as app:
        await app.reload(configured(BASIC + more))
        await send(tmp_path / "in.sock", line(1, verbosity="debug"), line(2))

    assert numbers_in(tmp_path / "debug.jsonl") == [1, 2]
    assert numbers_in(tmp_path / "audit.jsonl") == [2]
