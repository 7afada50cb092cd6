"""``EventSource`` of a real browser, with the cookie of its user."""

import pytest
from support.web_grants import grant_of

from edr import Binding, Bus
from edr.journal import SqliteJournal
from edr.web import Gateway, Server

pytestmark = pytest.mark.slow

LISTEN = """
document.cookie = "edr=acme; SameSite=Strict";
seen = [];
events = new EventSource("/events?last=10");
events.onmessage = (message) => seen.push(JSON.parse(message.data).body.n);
for (const name of ["gap", "bye"]) events.addEventListener(name, () => seen.push(name));
"""


async def test_browser_continues_after_a_restart_of_the_server(
    tmp_path, browser, client_of, publish
):
    journal = SqliteJournal(tmp_path / "journal", Binding(), sync="process", linger=0)
    async with Bus(journal=journal) as bus:

        def gateway():
            return Gateway(bus, journal=journal, authenticate=grant_of)

        async with Server(gateway(), "127.0.0.1:0") as server:
            await browser.go(server.url)
            publish(1, on=bus, account_id="acme")
            await browser.run(LISTEN)
            publish(2, on=bus, account_id="globex")
            publish(3, on=bus, account_id="acme")
            await browser.until("seen.length == 2")
        publish(4, on=bus, account_id="acme")
        async with Server(gateway(), f"127.0.0.1:{server.port}"):
            await browser.until("seen.length == 4")
            publish(5, on=bus, account_id="acme")
            await browser.until("seen.length == 5")
            seen = await browser.run("events.close(); return seen")

    assert seen == [1, 3, "bye", 4, 5]


async def test_page_of_another_site_does_not_use_the_cookie(serve, browser):
    gateway, server = await serve()
    _, other = await serve()
    await browser.go(server.url)
    await browser.run(LISTEN)
    await browser.until("events.readyState == 1")
    await browser.run("events.close()")
    # Ports do not separate cookies. This page has no content policy.
    await browser.go(f"{other.url}/recent")
    url = f"{server.url}/events"
    state = await browser.run_async(
        "const done = arguments[1];"
        "const events = new EventSource(arguments[0], {withCredentials: true});"
        "events.onopen = events.onerror = () => done(events.readyState);",
        url,
    )

    assert state == 2  # closed
    assert gateway.statistics().refused["foreign_origin"] == 1
