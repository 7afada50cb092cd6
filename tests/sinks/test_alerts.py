"""Alerts: one a minute, and no loss is left out."""

import asyncio
import logging

from support.shuffled_loop import run

import edr
from edr.delivery import FaultLog
from edr.records import Severity
from edr.sinks.alerts import Alerts


def scenario_of(work):
    """Run ``work(alerts)``, and return the alerts as (seconds, severity, state, lost)."""

    async def scenario():
        seen = []
        async with edr.Bus(node="here") as bus:
            log = FaultLog("sink 's'", logging.getLogger("edr.sinks"))

            def see(alert):
                now = asyncio.get_running_loop().time()
                lost = alert.body.get("lost")
                seen.append((round(now), str(alert.severity), alert.body["state"], lost))

            bus.bind(edr.Binding(app_name="edr"), see)
            alerts = Alerts(bus, "sink", "s", log)
            await work(alerts)
            await asyncio.sleep(600)
            alerts.aclose()
        return seen

    return run(scenario)


def test_a_condition_is_reported_once_and_its_end_too():
    async def work(alerts):
        for _ in range(3):
            alerts.trouble(Severity.CRITICAL, "refused", "no such folder")
        await asyncio.sleep(300)
        alerts.recovered()
        alerts.recovered()

    assert scenario_of(work) == [(0, "critical", "refused", None), (300, "ok", "running", None)]


def test_at_most_one_alert_a_minute():
    async def work(alerts):
        for _ in range(100):
            alerts.trouble(Severity.WARNING, "retrying", "503")
            await asyncio.sleep(0.5)
            alerts.recovered()
            await asyncio.sleep(0.5)

    assert scenario_of(work) == [(0, "warning", "retrying", None), (60, "ok", "running", None)]


def test_losses_within_a_minute_are_added():
    async def work(alerts):
        for _ in range(5):
            alerts.lost("rejected", 2)
        alerts.lost("retention", 7)

    assert scenario_of(work) == [
        (0, "warning", "running", {"rejected": 2}),
        (60, "warning", "running", {"rejected": 8, "retention": 7}),
    ]


def test_a_condition_that_ended_before_its_alert_is_left_out():
    async def work(alerts):
        alerts.lost("rejected", 1)
        alerts.trouble(Severity.WARNING, "retrying", "503")
        alerts.recovered()

    assert scenario_of(work) == [(0, "warning", "running", {"rejected": 1})]


def test_what_was_not_reported_is_reported_at_the_end(caplog):
    async def scenario():
        alerts = Alerts(None, "sink", "s", FaultLog("sink 's'", logging.getLogger("edr.sinks")))
        alerts.lost("rejected", 1)
        alerts.lost("rejected", 2)
        alerts.aclose()

    run(scenario)

    assert [line.split(": ")[-1] for line in caplog.messages] == ["1 (rejected)", "2 (rejected)"]


def test_only_alerts_about_the_part_are_its_own(bus, make_event):
    alerts = Alerts(bus, "sink", "s", FaultLog("", logging.getLogger("edr.sinks")))
    body = {"part": "s", "kind": "sink"}

    assert alerts.is_own(make_event("edr", body=body, node="test"))
    assert not alerts.is_own(make_event("edr", body=body, node="other"))
    assert not alerts.is_own(make_event("app", body=body, node="test"))
    assert not alerts.is_own(make_event("edr", body={**body, "part": "t"}, node="test"))
    assert not alerts.is_own(make_event("edr", body={**body, "kind": "link"}, node="test"))
