"""The fixture, in runs of pytest of its own: under each plugin and each scope of loops."""

import pytest

pytest_plugins = ["pytester"]

SERVICE = """
import edr

handled = []

@edr.on(edr.Binding(app_name="acdc"))
async def audit(event):
    handled.append(event.body["status"])

async def pause():
    await edr.emit("acdc", "1", "ok", "info", {"status": "paused"})
"""

TESTS = """
import asyncio, edr, pytest, service
import edr.testing as edr_testing
{mark}

async def test_the_service_is_heard_and_its_handlers_run(edr_bus):
    await service.pause()
    await edr_bus.join()
    edr_bus.assert_emitted(app_name="acdc", body={{"status": ["paused"]}}, times=1)
    assert service.handled == ["paused"]

async def test_the_next_one_has_a_bus_of_its_own(edr_bus):
    assert edr_bus.events == ()
    async with edr.subscribe(name="screen") as events:
        await service.pause()
        assert (await anext(events)).app_name == "acdc"
    await edr_bus.join()
    assert service.handled == ["paused"] * 2

async def test_without_the_fixture_the_default_bus_is_a_plain_one():
    await service.pause()
    await edr.default_bus().join()
    assert service.handled == ["paused"] * 3
    assert type(edr.default_bus()) is not edr_testing.RecordingBus
    await edr.default_bus().aclose()
"""

PLAIN = """
import asyncio, service

def test_a_plain_test_may_run_loops_itself(edr_bus):
    asyncio.run(service.pause())
    asyncio.run(service.pause())
    edr_bus.assert_emitted(times=2)
"""

STRICT = "pytestmark = pytest.mark.asyncio"
STRICT_SESSION = "pytestmark = pytest.mark.asyncio(loop_scope='session')"
ANYIO = """pytestmark = pytest.mark.anyio
@pytest.fixture{scope}
def anyio_backend():
    return "asyncio"
"""


INI = "filterwarnings = error\nasyncio_default_fixture_loop_scope = function"
NAMES = ("pytest_edr", "pytest_asyncio.plugin", "anyio.pytest_plugin", "no:cacheprovider")
PLUGINS = [option for name in NAMES for option in ("-p", name)]


@pytest.fixture(autouse=True)
def only_the_plugins_that_are_named(monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester, tests, *, ini="asyncio_mode = auto", apart=False):
    pytester.makeini(f"[pytest]\n{INI}\n{ini}")
    pytester.makepyfile(service=SERVICE, test_it=tests)
    options = (*PLUGINS, "--rootdir=.", "-q")
    if apart:  # what a module binds at import would stay in this process
        return pytester.runpytest_subprocess(*options, timeout=50)
    return pytester.runpytest_inprocess(*options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mark", "ini"),
    [
        pytest.param(STRICT, "asyncio_mode = strict", id="strict"),
        pytest.param(STRICT_SESSION, "asyncio_mode = strict", id="strict, a loop for the session"),
        pytest.param("", "asyncio_mode = auto", id="auto"),
        *[
            pytest.param(
                "",
                f"asyncio_mode = auto\nasyncio_default_test_loop_scope = {scope}",
                id=f"auto, a loop for the {scope}",
            )
            for scope in ("module", "session")
        ],
        pytest.param(ANYIO.format(scope=""), "", id="anyio"),
        pytest.param(ANYIO.format(scope="(scope='session')"), "", id="anyio, one runner"),
    ],
)
def test_the_fixture_works_under(pytester, mark, ini):
    pytester.makepyfile(test_plain=PLAIN)
    run(pytester, TESTS.format(mark=mark), ini=ini, apart=True).assert_outcomes(passed=4)


def test_a_failing_test_shows_what_came_nearest(pytester):
    tests = """
        import edr
        async def test_pause(edr_bus):
            await edr.emit("acdc", "1", "ok", "info", {"status": "paused"})
            edr_bus.assert_emitted(app_name="acdc", severity="warning", times=1)
    """
    result = run(pytester, tests)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       edr_bus.assert_emitted(app_name="acdc", severity="warning", times=1)',
            'E       AssertionError: 0 event(s) match {"app_name":"acdc","severity":"warning"}*',
            "E         ok info acdc {'status': 'paused'}",
            'E             severity: wanted [[]"warning", "critical"], found "ok"',
        ]
    )
    result.stdout.no_fnmatch_line("*recorder.py*")


LEAKING = """
    import asyncio, edr, pytest
    held = []
    async def test_leaks(edr_bus):
        held.append(edr.subscribe(name="screen"))
        await edr.emit("acdc", "1", "ok", "info", {})
        %s
"""


def test_a_subscription_left_open_is_an_error_that_names_the_line(pytester):
    ini = "asyncio_mode = auto\nasyncio_default_test_loop_scope = session"
    result = run(pytester, LEAKING % "", ini=ini)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: the test left subscriptions of edr_bus open:",
            "E*subscription 'screen', made in test_leaks, */test_it.py:4; 1 event(s) pending",
            "E*end each with*",
        ]
    )


@pytest.mark.parametrize(
    ("end", "outcome"),
    [("assert False", "failed"), ("pytest.skip()", "skipped"), ("pytest.xfail()", "xfailed")],
)
def test_a_test_that_did_not_pass_is_not_blamed_for_what_its_traceback_holds(
    pytester, end, outcome
):
    ini = "asyncio_mode = auto\nasyncio_default_test_loop_scope = session"
    result = run(pytester, LEAKING % end, ini=ini)

    result.assert_outcomes(**{outcome: 1})


def test_a_fixture_of_ones_own_gives_the_options_of_the_bus(pytester):
    tests = """
        import edr, pytest
        @pytest.fixture
        def edr_bus_options():
            return {"accounts": edr.AccountTree({"shop": "acme"}), "node": "n1"}
        async def test_it(edr_bus):
            await edr.emit("a", "1", "ok", "info", {}, account_id="shop")
            edr_bus.assert_emitted(account_id="acme", include_descendants=True)
            assert edr_bus.node == "n1"
    """
    run(pytester, tests).assert_outcomes(passed=1)


@pytest.mark.slow
def test_what_the_service_has_configured_holds_for_the_bus_of_a_test(pytester):
    tests = """
        import edr
        edr.configure(node="configured")
        def test_it(edr_bus):
            assert edr_bus.node == "configured"
    """
    run(pytester, tests, apart=True).assert_outcomes(passed=1)


@pytest.mark.slow
def test_what_is_left_undone_at_the_end_is_told(pytester):
    tests = """
        import asyncio, edr
        @edr.on
        async def slow(event):
            await asyncio.sleep(3600)
        async def test_it(edr_bus):
            await edr.emit("a", "1", "ok", "info", {})
            await asyncio.sleep(0)
            assert 0
    """
    result = run(pytester, tests, apart=True)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["WARNING*with events left undone: 'slow' 1"])


@pytest.mark.slow
def test_the_plugin_imports_edr_only_when_the_fixture_is_used(pytester):
    pytester.makepyfile(
        """
        import sys
        def test_before():
            assert "pytest_edr" in sys.modules
            assert not [name for name in sys.modules if name.split(".")[0] in ("edr", "pydantic")]
        def test_use(edr_bus):
            assert "edr" in sys.modules
        """
    )
    pytester.runpytest_subprocess(*PLUGINS, timeout=50).assert_outcomes(passed=2)


def test_a_loop_in_another_thread_is_closed_too(pytester):
    tests = """
        import asyncio, edr, pytest, threading

        @pytest.fixture
        def portal():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        async def say():
            await edr.emit("a", "1", "ok", "info", {})

        @pytest.mark.parametrize("n", range(2))
        def test_it(portal, edr_bus, n):
            portal(say())
            edr_bus.assert_emitted(times=1)
    """
    run(pytester, tests).assert_outcomes(passed=2)
