"""The application: the order of start and stop, reloads by name, and faults of parts."""

import asyncio

import pytest
from support import shuffled_loop

from app.fakes import FakeBus, FakeParts, FakeServer, configuration
from edr.app.application import Application
from edr.app.config import ConfigurationError
from edr.errors import JournalError

PARTS = """
[sources.local]
type = "socket"
path = "in.sock"
[sinks.audit]
type = "file"
path = "audit.jsonl"
[sinks.alarms]
type = "http"
url = "http://127.0.0.1:9/"
[links.kapps]
type = "nats"
url = "nats://127.0.0.1:9"
receive = "wanted"
"""


class Rig:
    def __init__(self, text=PARTS, faults=None):
        self.log = []
        self.bus = FakeBus(self.log)
        self.parts = FakeParts(self.log, faults)
        self.app = Application(configuration(text), self.bus, self.parts)
        self.app.add_server(FakeServer(self.log, "control"))

    async def start(self):
        self.running = asyncio.create_task(self.app.run())
        await self.app.wait_started()

    async def stop(self):
        self.app.stop()
        return await self.running

    async def reload(self, text):
        del self.log[:]
        return await self.app.reload(configuration(text))


def in_rig(scenario, text=PARTS, faults=None):
    async def main():
        return await scenario(Rig(text, faults))

    return shuffled_loop.run(main)


def places(log, *steps):
    return [log.index(step) for step in steps]


def test_consumers_are_created_before_anything_starts():
    async def scenario(rig):
        await rig.start()
        await rig.stop()
        return rig.log

    log = in_rig(scenario)
    start = log[: log.index("start local") + 1]
    prepared = ["prepare audit", "prepare alarms", "prepare kapps", "prepare local"]
    assert start[0] == "open journal"
    assert sorted(start[1:5]) == sorted(prepared)
    assert start[5:7] == ["start control", "start kapps"]
    assert sorted(start[7:9]) == ["start alarms", "start audit"]
    assert start[9:] == ["start local"]


def test_sources_stop_first_and_the_bus_closes_last():
    async def scenario(rig):
        await rig.start()
        del rig.log[:]
        await rig.stop()
        return rig.log

    log = in_rig(scenario)
    order = ["drain local", "join", "flush", "drain audit", "drain kapps", "close control"]
    assert places(log, *order) == sorted(places(log, *order))
    assert log[0] == "drain local"
    assert log[-1] == "drain bus"


def test_the_gateway_starts_before_sources_and_ends_after_sinks():
    async def scenario(rig):
        await rig.start()
        await rig.stop()
        return rig.log

    log = in_rig(scenario, PARTS + '[web]\nauthenticate = "a:b"\n')
    order = ["prepare web", "start control", "start audit", "start web", "start local"]
    order += ["drain local", "drain audit", "drain kapps", "drain web", "close control"]
    assert places(log, *order) == sorted(places(log, *order))


def test_a_stop_reports_lost_and_kept_events_by_name():
    async def scenario(rig):
        await rig.start()
        rig.parts.made["audit"].left = 3
        rig.parts.made["alarms"].left = 4
        rig.parts.made["alarms"].is_durable = False
        rig.bus.left = {"wallboard": 1}
        return await rig.stop()

    result = in_rig(scenario)
    assert result.kept == {"audit": 3}
    assert result.lost == {"alarms": 4, "wallboard": 1}


@pytest.mark.parametrize("step", ["prepare", "start"])
@pytest.mark.parametrize("fault", [OSError("no such place"), "hang"])
def test_a_part_that_cannot_start_does_not_stop_the_others(step, fault):
    async def scenario(rig):
        await rig.start()
        status = rig.app.status()
        await rig.stop()
        return status

    status = in_rig(scenario, faults={("alarms", step): fault})
    states = {name: each["state"] for name, each in status.items()}
    assert states.pop("sink alarms") in {"failed", "running"}
    assert set(states.values()) == {"running"}


def test_a_part_that_could_not_start_is_started_again():
    async def scenario(rig):
        await rig.start()
        before = rig.app.status()["source local"]
        rig.parts.faults.clear()
        await asyncio.sleep(11)
        after = rig.app.status()["source local"]
        await rig.stop()
        return before, after

    before, after = in_rig(scenario, faults={("local", "start"): OSError("in use")})
    assert before == {"state": "failed", "error": "in use"}
    assert after["state"] == "running"


def test_a_part_that_hangs_at_the_stop_delays_it_to_the_deadline_only():
    async def scenario(rig):
        await rig.start()
        began = asyncio.get_running_loop().time()
        await rig.stop()
        return asyncio.get_running_loop().time() - began, rig.log

    took, log = in_rig(scenario, faults={("alarms", "drain"): "hang"})
    assert took <= 15 + 5 + 1
    assert "close audit" in log
    assert log[-1] == "drain bus"


def test_nothing_starts_if_the_journal_cannot_be_opened():
    async def scenario(rig):
        rig.bus.open_error = JournalError("in use")
        with pytest.raises(JournalError):
            await rig.app.run()
        return rig.log

    assert in_rig(scenario) == ["open journal", "close bus"]


def test_a_cancelled_run_closes_everything():
    async def scenario(rig):
        await rig.start()
        rig.running.cancel()
        await asyncio.wait([rig.running])
        return rig

    rig = in_rig(scenario)
    assert rig.log[-1] == "close bus"
    assert {part.state for part in rig.parts.made.values()} == {"stopped"}


def test_a_stop_during_the_start_does_not_start_the_sources():
    async def scenario(rig):
        running = asyncio.create_task(rig.app.run())
        await asyncio.sleep(0)
        rig.app.stop()
        await running
        return rig.log

    assert "start local" not in in_rig(scenario)


def test_an_early_server_runs_before_the_journal_is_open():
    async def scenario(rig):
        rig.app.add_server(FakeServer(rig.log, "http"), is_early=True)
        await rig.start()
        await rig.stop()
        return rig.log

    log = in_rig(scenario)
    assert log[:2] == ["start http", "open journal"]
    assert places(log, "drain audit", "close http", "drain bus") == sorted(
        places(log, "drain audit", "close http", "drain bus")
    )


# Reload


def test_a_reload_does_not_touch_unchanged_parts():
    async def scenario(rig):
        await rig.start()
        result = await rig.reload(PARTS)
        log = list(rig.log)
        await rig.stop()
        return result, log

    result, log = in_rig(scenario)
    assert (result.changed, log) == ((), ["widen", "narrow", "refresh"])


def test_changed_bindings_rebind_the_part_only():
    async def scenario(rig):
        await rig.start()
        text = PARTS.replace(
            '"audit.jsonl"', '"audit.jsonl"\nbindings = [{ severity = "critical" }]'
        )
        result = await rig.reload(text)
        log = list(rig.log)
        await rig.stop()
        return result, log

    result, log = in_rig(scenario)
    assert result.changed == (("rebound", "sink audit"),)
    assert log == ["widen", "rebind audit", "narrow", "refresh"]


def test_changed_options_replace_the_sink_and_keep_its_consumer():
    async def scenario(rig):
        await rig.start()
        result = await rig.reload(PARTS.replace("audit.jsonl", "other.jsonl"))
        log = list(rig.log)
        await rig.stop()
        return result, log

    result, log = in_rig(scenario)
    assert result.changed == (("replaced", "sink audit"),)
    assert log == ["widen", "replace audit", "narrow", "refresh"]


def test_a_part_that_cannot_change_in_place_is_made_again():
    async def scenario(rig):
        await rig.start()
        rig.parts.is_replaceable = False
        await rig.reload(PARTS.replace("in.sock", "other.sock"))
        log = list(rig.log)
        await rig.stop()
        return log

    steps = ["drain local", "close local", "prepare local", "start local"]
    assert in_rig(scenario) == ["widen", *steps, "narrow", "refresh"]


def test_a_removed_part_stops_and_an_added_one_starts():
    async def scenario(rig):
        await rig.start()
        result = await rig.reload(PARTS.replace("sinks.alarms", "sinks.calls"))
        names = sorted(rig.app.status())
        await rig.stop()
        return result, names

    result, names = in_rig(scenario)
    assert sorted(result.changed) == [("added", "sink calls"), ("removed", "sink alarms")]
    assert names == ["link kapps", "sink audit", "sink calls", "source local"]


def test_a_changed_secret_replaces_its_part(monkeypatch):
    text = PARTS.replace('"http://127.0.0.1:9/"', '{ env = "ALARMS" }')
    monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/a")

    async def scenario(rig):
        await rig.start()
        monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/b")
        result = await rig.reload(text)
        await rig.stop()
        return result

    assert in_rig(scenario, text).changed == (("replaced", "sink alarms"),)


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ('[app]\nname = "other"\n', "app.name"),
        ('[app]\ndata_dir = "other"\n', "app.data_dir"),
        ('[journal]\nsync = "process"\n', "journal"),
        ('[control]\nmode = "0660"\n', "control"),
        ('[http]\nlisten = "127.0.0.1:1"\n', "http.listen"),
    ],
)
def test_a_reload_names_the_settings_that_need_a_restart(section, setting):
    async def scenario(rig):
        await rig.start()
        with pytest.raises(ConfigurationError) as caught:
            await rig.reload(section + PARTS.replace("audit.jsonl", "other.jsonl"))
        log, is_ok = list(rig.log), rig.app.reload_ok
        await rig.stop()
        return caught.value, log, is_ok

    error, log, is_ok = in_rig(scenario)
    assert [fault.path for fault in error.faults] == [setting]
    assert (log, is_ok) == ([], False)


def test_a_part_that_hangs_does_not_stop_a_reload():
    async def scenario(rig):
        await rig.start()
        text = PARTS.replace("audit.jsonl", "other.jsonl").replace(":9/", ":10/")
        result = await rig.reload(text)
        status = rig.app.status()
        await rig.stop()
        return result, status

    result, status = in_rig(scenario, faults={("alarms", "replace"): "hang"})
    assert [name for name, _ in result.failed] == ["sink alarms"]
    assert status["sink audit"]["state"] == "running"


@pytest.mark.parametrize(
    "next_text", [PARTS.replace(":9/", ":10/"), PARTS.partition("[sinks.al")[0]]
)
def test_a_part_that_could_not_be_changed_is_changed_by_the_next_reload(next_text):
    async def scenario(rig):
        await rig.start()
        await rig.reload(PARTS.replace(":9/", ":10/"))
        rig.parts.faults.clear()
        rig.parts.is_replaceable = False
        result = await rig.reload(next_text)
        names = set(rig.app.status())
        log = list(rig.log)
        await rig.stop()
        return result, names, log

    result, names, log = in_rig(scenario, faults={("alarms", "replace"): OSError("no")})
    assert result.failed == ()
    assert "drain alarms" in log
    assert ("sink alarms" in names) == ("start alarms" in log) == ("alarms" in next_text)


def test_the_application_is_ready_while_the_required_parts_work():
    async def scenario(rig):
        await rig.start()
        ready = [rig.app.is_ready]
        rig.parts.made["audit"].state = "stuck"
        ready.append(rig.app.is_ready)
        await rig.stop()
        return [*ready, rig.app.is_ready]

    text = '[app]\nready_requires = ["audit"]\n' + PARTS
    assert in_rig(scenario, text) == [True, False, False]


def test_nothing_starts_if_a_part_refuses_its_configuration():
    async def scenario(rig):
        def make(kind, name, config, secrets):
            raise ValueError(f"{name} is not possible")

        rig.parts.make = make
        with pytest.raises(ConfigurationError) as caught:
            await rig.app.run()
        return caught.value, rig.log

    error, log = in_rig(scenario)
    assert [fault.path for fault in error.faults][:2] == ["sources.local", "links.kapps"]
    assert "sinks.alarms" in str(error)
    assert not [step for step in log if step.startswith("start")]


def test_a_reload_during_the_start_waits_for_it():
    async def scenario(rig):
        reloading = asyncio.create_task(rig.app.reload(configuration("")))
        await asyncio.sleep(1)
        await rig.start()
        result = await reloading
        await rig.stop()
        return result

    assert len(in_rig(scenario).changed) == 4
