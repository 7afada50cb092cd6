"""The live page in a real browser, with a real gateway."""

import pytest
from support.fault_proxy import FaultProxy

import edr
from edr.journal import SqliteJournal

pytestmark = pytest.mark.slow

SHOWN = """[...document.querySelectorAll("#rows .row:not([hidden])")]
    .sort((one, other) => one.ariaPosInSet - other.ariaPosInSet)"""
ROWS = f"return {SHOWN}.map((row) => row.innerText.replaceAll('\\n', ' ').trim())"
HAS_ROW = f"{SHOWN}.some((row) => row.innerText.includes(given[0]))"


@pytest.fixture
async def server(serve):
    """The server of a gateway."""
    return (await serve())[1]


@pytest.fixture
def open_page(server, browser):
    """Open the page as an account."""

    async def open_page(fragment="", token="all", port=None):
        await browser.go(f"http://127.0.0.1:{port or server.port}/{fragment}")
        await browser.until("!document.getElementById('sign-in').hidden")
        await browser.press(*token, "enter")
        await browser.until("!document.getElementById('app').hidden")
        await browser.until("/ of the last /.test(document.getElementById('count').textContent)")

    return open_page


async def emit(bus, n):
    await bus.emit("app", "1", "ok", "info", {"n": n}, durable=True)


async def numbers(browser):
    return [int(row.rpartition("n=")[2]) for row in await browser.run(ROWS) if "n=" in row]


async def test_page_shows_nothing_without_a_token(serve, browser, publish):
    _, server = await serve(authenticate=lambda *_: None)
    publish(1)
    await browser.go(f"{server.url}/#app_name=hidden")
    await browser.until("!document.getElementById('sign-in').hidden")
    assert "n=1" not in await browser.run("return document.body.innerText")
    await browser.press(*"wrong", "enter")
    await browser.until("document.getElementById('sign-in-state').textContent")

    assert await browser.text("#sign-in-state") == "The token was not accepted."
    assert not await browser.run("return document.getElementById('app').checkVisibility()")


async def test_events_appear_in_order(open_page, browser, publish):
    publish(*range(100))
    await open_page()
    await browser.until(HAS_ROW, "n=99")
    publish(*range(100, 200))
    await browser.until(HAS_ROW, "n=199")
    shown = await numbers(browser)

    assert len(shown) > 20
    assert shown == list(range(200 - len(shown), 200))
    assert await browser.messages() == []


async def test_filter_is_a_binding_that_the_fragment_keeps(open_page, browser, publish):
    publish(1, severity="warning")
    publish(2, 3, severity="critical")
    await open_page()
    await browser.until(HAS_ROW, "n=3")
    await browser.click("#severity button:nth-child(3)", shift=True)
    await browser.click("#body")
    await browser.press(*'{"n": [3]}')
    await browser.until(f"{SHOWN}.length === 1")

    assert await numbers(browser) == [3]
    await browser.until("document.getElementById('count').textContent === '1 of the last 3'")
    fragment = await browser.run("return location.hash")
    assert fragment == "#only_severity=critical&body=%7B%22n%22%3A+%5B3%5D%7D"
    await browser.run("location.hash = '#severity=warning'")
    await browser.until(f"{SHOWN}.length === 3")


async def test_fault_of_a_pattern_keeps_the_last_filter(open_page, browser, publish):
    publish(1)
    await open_page('#body={"n": [1, 2]}')
    await browser.until(HAS_ROW, "n=1")
    await browser.run("document.getElementById('body').select()")
    fault = "document.getElementById('body-fault').textContent"
    for typed, expected, rows in (
        ('{"n": 3', "^is not JSON", 2),
        ("}", "^body.n: must be an array", 3),
    ):
        await browser.press(*typed)
        await browser.until(f"/{expected}/.test({fault})")
        publish(3, 2)
        await browser.until(f"{SHOWN}.length === {rows}")

    assert await numbers(browser) == [1, 2, 2]


async def test_levels_change_while_a_pattern_has_a_fault(open_page, browser, publish):
    publish(1, 2, severity="warning")
    publish(1)
    await open_page('#body={"n": [1]}')
    await browser.until(f"{SHOWN}.length === 2")
    await browser.click("#body")
    await browser.press("!")
    await browser.click("#severity button:nth-child(2)")
    await browser.until(f"{SHOWN}.length === 1")

    assert "warning" in (await browser.run(ROWS))[0]
    assert not await browser.run("return document.getElementById('body-fault').hidden")


async def test_pause_continues_to_receive(open_page, browser, publish):
    publish(1)
    await open_page()
    await browser.until(HAS_ROW, "n=1")
    await browser.press(" ")
    publish(*range(2, 43))
    await browser.until("document.getElementById('newer').textContent === '↓ 41 newer'")
    assert await numbers(browser) == [1]
    await browser.press(" ")
    await browser.until(HAS_ROW, "n=42")

    assert await browser.run("return document.getElementById('newer').hidden")


async def test_lost_connection_resumes_without_loss(open_page, browser, publish, server):
    async with FaultProxy(server.port) as proxy:
        await open_page(port=proxy.port)
        for n in range(0, 30, 10):
            publish(*range(n, n + 10))
            await proxy.cut()
        publish(30)
        await browser.until(HAS_ROW, "n=30")

        assert (await numbers(browser))[-20:] == list(range(11, 31))
        await browser.go("about:blank")


async def test_restart_of_the_gateway_is_a_gap_in_its_place(
    open_page, browser, publish, server, serve
):
    await open_page()
    publish(1)
    await browser.until(HAS_ROW, "n=1")
    await server.aclose()
    publish(2)
    await serve(listen=f"127.0.0.1:{server.port}")
    publish(3)
    await browser.until(HAS_ROW, "n=3")
    rows = await browser.run(ROWS)

    assert rows[-1].endswith("n=3")
    assert "lost here: the process restarted" in rows[-2]
    assert "lost here ?" in await browser.text("header")


async def test_restart_with_a_journal_loses_nothing(serve, open_page, browser, tmp_path):
    journal = SqliteJournal(tmp_path / "journal")
    async with edr.Bus(journal=journal) as bus:
        _, server = await serve(on=bus, journal=journal)
        await emit(bus, 1)
        await open_page(port=server.port)
        await browser.until(HAS_ROW, "n=1")
        await server.aclose()
        await emit(bus, 2)
        await serve(on=bus, journal=journal, listen=f"127.0.0.1:{server.port}")
        await emit(bus, 3)
        await browser.until(HAS_ROW, "n=3")

        assert await numbers(browser) == [1, 2, 3]
        assert "lost" not in await browser.text("header")


async def test_hostile_content_has_no_effect(serve, open_page, browser, make_event):
    markup = "<img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"
    marks = {"rtl": "\u202eabc\u200b", "__proto__": {"polluted": 1}, markup: markup}
    keys = {f"key{n}": markup for n in range(10_000)}
    shown = []
    async with edr.Bus(max_body=2**21) as bus:
        _, server = await serve(on=bus)
        for body in (marks, {"value": "x" * 1_000_000}, keys):
            bus.publish_nowait(make_event(markup, body=body))
        await open_page(port=server.port)
        await browser.until(f"{SHOWN}.length === 3")
        for key in "jkk":
            await browser.press(key)
            shown.append(await browser.text("#detail"))

        assert "more characters: copy the JSON" in shown[0]
        assert "(1,000,000 characters)" in shown[1]
        assert "\\u202eabc\\u200b" in shown[2]
        assert markup in shown[2]
        found = "[window.hit, ({}).polluted, document.images.length, document.scripts.length]"
        assert await browser.run(f"return {found}") == [None, None, 0, 1]
        assert max(map(len, shown)) < 150_000
        assert await browser.messages() == []


async def test_keys_select_explain_and_close(open_page, browser, bus, publish):
    async with bus.subscribe(edr.Binding(severity="critical"), name="alarms"):
        publish(1, 2, 3, severity="warning")
        await open_page()
        await browser.until(HAS_ROW, "n=3")
        await browser.press("k", "k", "e")
        await browser.until("document.querySelector('#why .no')")
        explained = await browser.text("#why")

    assert "the filter of this page" in explained
    assert "alarms" in explained
    assert 'severity: wanted ["critical"], found "warning"' in explained
    active = "document.getElementById('list').getAttribute('aria-activedescendant')"
    assert "n=2" in await browser.run(f"return document.getElementById({active}).innerText")
    assert await browser.run("return document.activeElement.id") == "why-title"
    await browser.press("?")
    await browser.until("document.getElementById('help').open")
    await browser.press("escape", "escape")
    await browser.until("document.getElementById('detail').hidden")


async def test_surroundings_are_shown_without_the_filter(open_page, browser, publish):
    publish(*range(100))
    publish(100, severity="critical")
    publish(*range(101, 200))
    await open_page("#severity=critical")
    await browser.until(HAS_ROW, "n=100")
    await browser.press("j")
    await browser.click("#show-around")
    await browser.until("!document.getElementById('note').hidden")
    await browser.until(HAS_ROW, "n=99")

    assert "101 rows around" in await browser.text("#note")
    await browser.press("escape")
    await browser.until(f"{SHOWN}.length === 1")


async def test_event_becomes_a_filter_that_is_copied(open_page, browser, bus, make_event):
    body = {"event": "paused", "n": 1}
    bus.publish_nowait(make_event("acdc", "warning", "warn", body, account_id="branch_07"))
    await open_page()
    await browser.until(HAS_ROW, "n=1")
    await browser.press("j")
    await browser.click("#binding-from-this")
    await browser.until("location.hash.length > 9")
    await browser.devtools("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    await browser.click("#copy")
    await browser.click("[data-form=flags]")
    await browser.until("/^Copied flags/.test(document.getElementById('said').textContent)")
    copied = "navigator.clipboard.readText().then(arguments[0])"

    assert await browser.run_async(copied) == (
        """edr tail -s warning -v warn -a acdc -A branch_07 -b '{"event": ["paused"]}'"""
    )


async def test_account_sees_its_own_events_only(open_page, browser, publish):
    publish(1, account_id="other")
    publish(2, account_id="reseller")
    await open_page(token="reseller")
    await browser.until(HAS_ROW, "n=2")

    assert await numbers(browser) == [2]
    assert not await browser.run("return document.getElementById('operators').checkVisibility()")


async def test_operators_see_subscriptions_and_clients(open_page, browser, bus, publish):
    async with bus.subscribe(name="wallboard", capacity=2, overflow="drop_oldest"):
        publish(1, 2, 3)
        await open_page()
        await browser.until("/wallboard/.test(document.getElementById('operators').innerText)")
        table = await browser.text("#operators")

    assert "2 / 2" in table
    assert "1 overflow" in table
    assert "all @ 127.0.0.1" in table
    assert "gateway web" in table


async def test_many_events_have_few_elements(open_page, browser, publish):
    await open_page()
    for n in range(0, 12_000, 500):
        publish(*range(n, n + 500))
        await browser.until(HAS_ROW, f"n={n + 499}")

    assert await browser.run("return document.querySelectorAll('*').length") < 1_200
    assert (await browser.text("#count")).startswith("5,000 of the last 5,000")


async def test_page_fits_into_a_narrow_screen(open_page, browser, publish):
    await browser.view(360)
    publish(1)
    await open_page()
    await browser.until(HAS_ROW, "n=1")
    await browser.press("j")

    assert await browser.run("return document.documentElement.scrollWidth") == 360
    assert await browser.run("return document.getElementById('detail').checkVisibility()")
