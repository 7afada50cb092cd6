"""``connect``: the URL selects the link, and each option goes where it belongs."""

import pytest

import edr

pytest.importorskip("nats")
pytest.importorskip("aiormq")


class Link:
    """Records what ``connect`` does with it."""

    def __init__(self, bus, url, *, capacity=1):
        self.arguments = (bus, url, capacity)
        self.is_started = False

    async def start(self):
        self.is_started = True


async def test_connect_starts_the_link_and_closes_the_bus(monkeypatch):
    monkeypatch.setattr("edr.links.nats.NatsLink", Link)
    async with edr.connect("nats://x", bus={"node": "here"}, capacity=7) as (bus, link):
        assert link.is_started
        assert link.arguments == (bus, "nats://x", 7)
        assert bus.node == "here"

    with pytest.raises(edr.BusClosedError):
        await bus.emit("app", "1", "ok", "info", {})


async def test_connect_refuses_an_unknown_scheme():
    with pytest.raises(ValueError, match=r"must be nats://host.*got the scheme 'kafka'"):
        async with edr.connect("kafka://x"):
            pass


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("capcity", "NatsLink has no argument 'capcity'; did you mean 'capacity'?"),
        ("node", "NatsLink has no argument 'node'; the bus has: bus={'node': …}"),
    ],
)
async def test_connect_names_where_an_option_belongs(option, message):
    with pytest.raises(TypeError) as caught:
        async with edr.connect("nats://127.0.0.1:1", **{option: 1}):
            pass

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("scheme", "link"),
    [
        *((scheme, "nats.NatsLink") for scheme in ("nats", "tls", "ws", "wss")),
        *((scheme, "rabbitmq.RabbitLink") for scheme in ("amqp", "amqps")),
    ],
)
async def test_connect_makes_the_link_of_a_scheme(monkeypatch, scheme, link):
    monkeypatch.setattr(f"edr.links.{link}", Link)
    async with edr.connect(f"{scheme}://host") as (_, made):
        assert isinstance(made, Link)
