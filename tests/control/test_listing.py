"""Over a socket: the lists of ``explain`` and ``bindings``."""

import edr
from edr.control import listing as module


class Sink:
    name, kind = "alarms", "sink"
    bindings = (edr.Binding(severity="critical"), edr.Binding(app_name="acdc"))

    def status(self):
        return {}


class Source(Sink):
    name, kind, bindings = "in", "source", ()


EVENT = {
    "app_name": "app",
    "app_version": "1",
    "severity": "warning",
    "verbosity": "info",
    "body": {"n": 1},
}


async def results(request):
    return [each for message in [m async for m in request] for each in message.get("results", [])]


async def test_each_subscription_and_part_is_explained(client_of, bus):
    kept = bus.subscribe(name="w", severity="warning"), bus.subscribe(name="c", app_name="acdc")
    bus.bind(edr.Binding(), print, name="printer")
    client = await client_of(parts=[Sink(), Source()])
    shown = await results(client.request("explain", event=EVENT))

    assert [(each["kind"], each["name"], each["matches"]) for each in shown] == [
        ("subscription", "w", True),
        ("subscription", "c", False),
        ("callback", "printer", True),
        ("sink", "alarms", False),
        ("source", "in", None),
    ]
    assert shown[1]["mismatches"] == [
        {
            "path": "app_name",
            "wanted": ["acdc"],
            "found": "app",
            "text": 'app_name: wanted ["acdc"], found "app"',
        }
    ]
    for each in kept:
        each.shutdown()


async def test_a_part_is_explained_by_its_nearest_binding(client_of):
    client = await client_of(parts=[Sink()])
    (shown,) = await results(client.request("explain", event={**EVENT, "app_name": "acdc"}))

    assert shown["matches"] is True


async def test_the_nearest_of_many_bindings_explains_a_part(client_of):
    sink = Sink()
    far = edr.Binding(app_name="acdc", severity="critical", verbosity="trace")
    client = await client_of(parts=[sink])
    for bindings, mismatches in (
        ((far, far, far, edr.Binding(severity="critical"), far), ["severity"]),
        ((far, far, far, edr.Binding()), []),
        ((edr.Binding(), far, far), []),
    ):
        sink.bindings = bindings
        (shown,) = await results(client.request("explain", event=EVENT))

        assert [each["path"] for each in shown["mismatches"]] == mismatches
        assert shown["matches"] is not bool(mismatches)


async def test_a_long_list_is_sent_in_several_messages(client_of, bus, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 500)
    kept = [bus.subscribe(name=f"s{n}") for n in range(30)]
    client = await client_of()
    messages = [each async for each in client.request("bindings")]

    assert [each["is"] for each in messages] == ["bindings"] * (len(messages) - 1) + ["end"]
    assert len(messages) > 10
    names = [each["name"] for message in messages[:-1] for each in message["items"]]
    assert names == [f"s{n}" for n in range(30)]
    assert messages[-1]["count"] == 30
    for each in kept:
        each.shutdown()


async def test_the_bindings_of_everything_are_listed(client_of, bus):
    @bus.on(name="callback", severity="critical")
    def callback(event): ...

    client = await client_of(parts=[Sink()])
    message = await client.ask("bindings")

    assert [(each["kind"], each["name"], len(each["bindings"])) for each in message["items"]] == [
        ("callback", "callback", 1),
        ("sink", "alarms", 2),
    ]
    assert message["items"][0]["bindings"][0]["severity"] == "critical"
