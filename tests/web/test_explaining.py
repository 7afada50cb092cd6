"""Which receivers of the process match an event, as a client may know it."""

import pytest

from edr import Binding
from edr.streams import Grant
from edr.web import explaining
from edr.web.explaining import Explaining

OWN = [("a", (Binding(app_name="x"), Binding(app_name="app")))]


@pytest.fixture
def event(make_event):
    return make_event("app")


async def test_an_operator_learns_of_every_receiver(bus, event):
    mailer = bus.subscribe(Binding(severity="critical"), name="mailer")
    results = await Explaining(bus).results(event, Grant.everything(), OWN)
    found = [(each["kind"], each["name"], each["matches"]) for each in results]
    assert found == [("client", "a", True), ("subscription", mailer.name, False)]
    assert results[1]["mismatches"][0]["path"] == "severity"


async def test_a_tenant_learns_of_its_own_subscriptions(bus, event):
    mailer = bus.subscribe(name="mailer")
    results = await Explaining(bus).results(event, Grant("account"), OWN)
    assert [each["name"] for each in results] == ["a"] != [mailer.name]


async def test_an_answer_is_limited(bus, event, monkeypatch):
    monkeypatch.setattr(explaining, "MAX_RESULTS", 3)
    subscriptions = [bus.subscribe() for _ in range(5)]
    results = await Explaining(bus).results(event, Grant.everything(), OWN)
    assert len(results) == 3 < len(subscriptions)
