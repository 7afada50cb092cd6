import asyncio

import pytest

import edr

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.openmetrics import exposition  # noqa: E402
from prometheus_client.openmetrics import parser as openmetrics  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from edr.adapters.prometheus import Collector  # noqa: E402

NAME = 'a "quoted" \\ name\nof two lines'


@pytest.fixture
async def registry(bus, emit):
    registry = CollectorRegistry()
    registry.register(Collector(bus))
    held = bus.subscribe(name=NAME, capacity=1, overflow="drop_oldest")
    await emit(1)
    await emit(2)
    yield registry
    held.shutdown()


def samples(families):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_the_page_is_what_the_official_parser_reads(registry):
    page = generate_latest(registry).decode()
    families = list(text_string_to_metric_families(page))
    found = samples(families)
    bus, own = ("bus", "default"), ("subscription", NAME)

    assert found["edr_emits_total", bus] == 2
    assert found["edr_subscription_offered_total", bus, own] == 2
    assert found["edr_subscription_dropped_total", bus, ("reason", "overflow"), own] == 1
    assert found["edr_subscription_pending", bus, own] == 1
    assert found["edr_subscription_oldest_age_seconds", bus, own] >= 0
    assert {family.type for family in families} == {"counter", "gauge"}
    assert all(family.documentation for family in families)


async def test_the_page_is_open_metrics_too(registry):
    page = exposition.generate_latest(registry).decode()
    found = samples(openmetrics.text_string_to_metric_families(page))

    assert found["edr_offered_total", ("bus", "default")] == 2


async def test_several_buses_are_on_one_page(bus, emit):
    registry = CollectorRegistry()
    async with edr.Bus() as other:
        await other.emit("a", "1", "ok", "info", {})
        registry.register(Collector({"orders": bus, "audit": other}))
        found = samples(text_string_to_metric_families(generate_latest(registry).decode()))
        with pytest.raises(ValueError, match="edr_emits"):
            registry.register(Collector(other))

    assert found["edr_emits_total", ("bus", "orders")] == 0
    assert found["edr_emits_total", ("bus", "audit")] == 1


async def test_reasons_are_on_the_page_before_the_first_loss(bus):
    registry = CollectorRegistry()
    registry.register(Collector(bus))
    found = samples(text_string_to_metric_families(generate_latest(registry).decode()))

    for reason in edr.DropReason:
        assert found["edr_dropped_total", ("bus", "default"), ("reason", reason)] == 0


async def test_each_page_that_a_thread_reads_is_well_formed_while_subscriptions_come_and_go(
    bus, registry
):
    done = asyncio.Event()

    def scrape():
        pages = []
        while not done.is_set() or not pages:
            pages.append(generate_latest(registry).decode())
        return pages

    scraper = asyncio.create_task(asyncio.to_thread(scrape))
    for n in range(300):
        async with bus.subscribe(name=f"worker {n % 5}"), bus.subscribe():
            await bus.emit("app", "1", "ok", "info", {"n": n})
            await asyncio.sleep(0)
    done.set()

    for page in await scraper:
        names = [
            (sample.name, *sorted(sample.labels.items()))
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        ]
        assert len(names) == len(set(names))


async def test_a_name_that_is_no_text_for_a_page_is_escaped(bus, registry):
    held = bus.subscribe(name="\ud800")
    page = generate_latest(registry).decode()

    assert '"\\\\ud800"' in page
    held.shutdown()
