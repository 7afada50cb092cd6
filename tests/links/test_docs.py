"""The programs of docs/links.md that need a server run, and its configuration does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.consuming import take, take_ready, until

import edr
from edr.links.subject import permissions_of, subject_of

pytestmark = pytest.mark.slow  # they talk to servers, or start their own

PAGE = (Path(__file__).parents[2] / "docs" / "links.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```py\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
CONFIGURATION = re.search(r"```conf\n(.*?)```", PAGE, re.DOTALL)[1]


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50
    )


def test_every_program_has_its_output():
    assert len(PROGRAMS) == PAGE.count("```py\n") == 4


@pytest.mark.parametrize(("program", "output"), [p for p in PROGRAMS if ":4222" in p[0]])
def test_a_program_prints_what_the_page_shows(own_server, program, output):
    server = own_server(jetstream="JetStream" in program)
    done = run(program.replace("nats://127.0.0.1:4222", server.url))

    assert (done.stdout, done.stderr) == (output, "")


def test_the_recipe_over_redis_streams_carries_events():
    redis = pytest.importorskip("redis", reason="needs redis: pip install 'faststream[redis]'")
    pytest.importorskip("faststream", reason="needs redis: pip install 'faststream[redis]'")
    try:
        redis.Redis(socket_connect_timeout=1).ping()
    except redis.exceptions.ConnectionError:
        pytest.skip("needs redis: nothing answers at 127.0.0.1:6379")
    (program, output) = next(p for p in PROGRAMS if "RedisBroker" in p[0])
    done = run(program)

    assert done.stdout == output, done.stderr
    assert len(re.findall(r"\S.*\n", program)) <= 32


# Tenants

TENANTS = {"acme": (), "globex": ("acme",)}


@pytest.fixture
async def tenants(machine, own_server):
    """A machine for each user of the page's configuration: its bus, its link."""
    config = re.sub(r"\$\w+", "s3cret", CONFIGURATION)
    server = own_server(config=config)

    async def as_user(user):
        url = server.url.replace("//", f"//{user}:s3cret@")
        bus = edr.Bus(node=user, accounts=edr.AccountTree({"globex": "acme"}))
        _, link = await machine(user, url, bus=bus)
        return bus, link

    made = {user: await as_user(user) for user in ("services", "acme", "globex")}
    yield made
    for bus, link in made.values():
        await link.aclose()
        await bus.aclose()


async def test_tenants_hear_what_is_theirs_and_say_nothing_else(tenants):
    heard = {}
    for user, (bus, link) in tenants.items():
        wanted = edr.Binding(account_id=user, include_descendants=True)
        heard[user] = bus.subscribe(edr.Binding() if user == "services" else wanted)
        await link.ready()
    services, acme, globex = (tenants[user][0] for user in ("services", "acme", "globex"))
    for n, (bus, account) in enumerate(
        [
            (services, "acme"),
            (services, "globex"),
            (services, "initech"),
            (acme, "acme"),
            (globex, "globex"),
            (acme, "initech"),
            (globex, "acme"),
        ]
    ):
        await bus.emit("app", "1", "ok", "info", {"n": n}, account)

    # The last of acme's, and of globex's, are refused; each is heard by its own bus, of course.
    assert sorted(await take(heard["services"], 5)) == [0, 1, 2, 3, 4]
    assert sorted(await take(heard["acme"], 4)) == [0, 1, 3, 4]
    assert sorted(await take(heard["globex"], 2)) == [1, 4]
    for user in ("acme", "globex"):
        link = tenants[user][1]
        await until(lambda link=link: not link.statistics().pending)
        assert link.statistics().dropped == {"not_permitted": 1}
    assert [take_ready(subscription) for subscription in heard.values()] == [[], [], []]


async def test_a_tenant_that_asks_for_everything_gets_nothing_more(tenants, caplog):
    bus, link = tenants["globex"]
    everything = bus.subscribe()
    await link.ready()
    await tenants["services"][0].emit("app", "1", "ok", "info", {"n": 1}, "acme")
    await tenants["services"][1].drain()

    assert link.statistics().patterns == 0
    assert "is not permitted to receive" in caplog.text
    assert take_ready(everything) == []


def test_the_page_has_the_permissions_that_the_function_gives():
    written = re.findall(r'"(edr\.[^"]+)"', CONFIGURATION)
    for account, tree in TENANTS.items():
        permissions = permissions_of(account, tree)
        assert permissions["publish"][0] in written
        assert permissions["subscribe"][0] in written
    assert set(permissions_of("acme")["subscribe"]) <= set(written)


def test_permissions_fit_the_subjects_of_the_account(make_event):
    event = make_event(account_id="a.b", account_tree=["r", "s"])
    (publish,) = permissions_of("a.b", ["r", "s"])["publish"]
    pattern = re.escape(publish).replace(r"\*", "[^.]+")

    assert re.fullmatch(pattern, subject_of(event))
    assert not re.fullmatch(pattern, subject_of(make_event(account_id="a.b", account_tree=["r"])))
