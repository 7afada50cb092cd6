from edr.adapters.measures import Measures


def table(measures):
    """Return name -> labels except the bus -> value, of the only bus."""
    return {
        measure.name: {labels[1:]: value for labels, value in measure.values.items()}
        for measure in measures.read()
    }


async def test_those_of_one_name_are_summed_and_no_counter_falls_when_one_goes(bus, emit):
    first, second = bus.subscribe(name="sse"), bus.subscribe(name="sse")
    measures = Measures(bus)
    await emit(1)
    assert table(measures)["subscription_offered"] == {("sse",): 2}
    second.shutdown()
    await emit(2)

    assert table(measures)["subscription_offered"] == {("sse",): 3}
    first.shutdown()
    third = bus.subscribe(name="sse")
    await emit(3)
    assert table(measures)["subscription_offered"] == {("sse",): 4}
    assert third.name == "sse"


async def test_a_name_that_is_gone_keeps_its_counters_and_has_no_gauges(bus, emit):
    measures = Measures(bus)
    events = bus.subscribe(name="once")
    await emit(1)
    assert table(measures)["subscription_pending"] == {("once",): 1}
    await events.aclose()

    found = table(measures)
    assert found["subscription_offered"] == {("once",): 1}
    assert found["subscription_pending"] == {}


async def test_names_that_are_made_up_are_forgotten_in_the_end(bus, monkeypatch):
    monkeypatch.setattr("edr.adapters.named_counts.MAX_GONE", 3)
    measures = Measures(bus)
    lasting = bus.subscribe(name="lasting")
    for n in range(10):
        async with bus.subscribe(name=f"made up {n}"):
            measures.read()

    labels = list(table(measures)["subscription_offered"])
    assert labels == [("lasting",), ("made up 7",), ("made up 8",), ("made up 9",)]
    lasting.shutdown()
