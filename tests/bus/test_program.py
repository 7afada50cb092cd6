"""How programs end: with ``run`` they lose nothing, and without it they say what they lost."""

import asyncio
import signal
import subprocess
import sys

import pytest

import edr

START = """
import asyncio, os, signal, edr

@edr.on
async def handle(event):
    await asyncio.sleep(0)
    print(event.body["n"], flush=True)

async def emit(count):
    for n in range(count):
        await edr.emit("app", "1", "ok", "info", {"n": n})
"""


def run_program(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", START + program],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.slow
def test_a_program_that_ends_with_events_undone_says_so_in_one_line():
    done = run_program("asyncio.run(emit(100))")

    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "events left undone: 'handle' 100" in done.stderr
    assert "edr.run(main())" in done.stderr


def test_run_handles_all_that_is_queued_before_it_returns():
    done = run_program("edr.run(emit(100))")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(n) for n in range(100)]


def test_run_returns_what_main_returns_and_raises_what_it_raises():
    done = run_program("""
async def main():
    await emit(1)
    return 7
async def fails():
    await emit(1)
    raise ValueError("main's own")
print(edr.run(main()))
try:
    edr.run(fails())
except ValueError as exc:
    print(exc)
""")

    assert done.stdout.split("\n") == ["0", "7", "0", "main's own", ""]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_cancels_main_and_what_is_queued_is_handled(number, status):
    done = run_program(f"""
async def main():
    await emit(3)
    try:
        os.kill(os.getpid(), {number:d})
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise
edr.run(main())
""")

    assert done.returncode == status
    assert sorted(done.stdout.split()) == ["0", "1", "2", "cancelled"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_deadline_or_a_second_signal_ends_it_and_the_status_says_what_was_lost():
    done = run_program("""
@edr.on(edr.Binding(app_name="stuck"), name="stuck")
async def hangs(event):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)
async def main():
    await edr.emit("stuck", "1", "ok", "info", {"n": 0})
    await asyncio.sleep(60)
edr.run(main(), drain_timeout=0.05)
""")

    assert done.returncode == 75
    assert "events left undone: 'stuck' 1" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_second_signal_ends_at_once():
    done = run_program("""
@edr.on(edr.Binding(app_name="stuck"), name="stuck")
async def hangs(event):
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)
async def main():
    await edr.emit("stuck", "1", "ok", "info", {"n": 0})
    await asyncio.sleep(60)
edr.run(main(), drain_timeout=None)
""")

    assert "events left undone: 'stuck' 1" in done.stderr
    assert done.returncode == 75


@pytest.mark.slow
def test_events_undone_are_told_at_exit_where_the_loop_was_just_closed():
    done = run_program("""
loop = asyncio.new_event_loop()
bus = edr.Bus(node="mine")
kept = bus.subscribe(name="kept")
async def use():
    await bus.emit("app", "1", "ok", "info", {})
loop.run_until_complete(use())
loop.close()
""")

    assert done.returncode == 0
    assert "the event loop of <Bus 'mine'" in done.stderr
    assert "events left undone: 'kept' 1" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_first_signal_while_it_drains_already_cuts_nothing_off():
    done = run_program("""
@edr.on(edr.Binding(app_name="slow"))
async def slow(event):
    if event.body["n"] == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.01)
    print("slow")
async def main():
    for n in range(5):
        await edr.emit("slow", "1", "ok", "info", {"n": n})
    return "main's"
print(edr.run(main()))
""")

    assert done.stdout.split().count("slow") == 5
    assert done.stdout.splitlines()[-1] == "main's"
    assert done.returncode == 0


def test_what_is_no_coroutine_is_refused_with_the_call_that_was_meant():
    async def main():
        pass

    with pytest.raises(TypeError, match=r"run takes a coroutine, .*; call it: edr.run\(main\(\)\)"):
        edr.run(main)


OWN_BUS = """
async def work(event):
    await asyncio.sleep({seconds})

async def consume(events):
    async for event in events:
        await asyncio.sleep({seconds})

async def fill(bus):
    for n in range(100):
        await bus.emit("app", "1", "ok", "info", {{"n": n}})
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()

async def scoped():
    async with edr.Bus() as bus:
        bus.bind(edr.Binding(), work)
        bus.bind(edr.Binding(), handle)
        await fill(bus)

async def bare():
    bus = edr.Bus()
    bus.bind(edr.Binding(), work)
    bus.bind(edr.Binding(), handle)
    await fill(bus)

async def consumed():
    async with edr.Bus() as bus, bus.subscribe() as events:
        asyncio.create_task(consume(events))
        await fill(bus)

edr.run({main}(), drain_timeout={timeout})
"""


@pytest.mark.slow
@pytest.mark.parametrize("main", ["scoped", "bare"])
def test_run_drains_an_own_bus_at_sigterm(main):
    done = run_program(OWN_BUS.format(main=main, seconds=0, timeout=10))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(n) for n in range(100)]


@pytest.mark.slow
@pytest.mark.parametrize("main", ["scoped", "bare"])
def test_run_exits_with_75_when_an_own_bus_left_events(main):
    done = run_program(OWN_BUS.format(main=main, seconds=60, timeout=0.1))

    assert done.returncode == 75
    assert "events left undone: 'work' 100" in done.stderr


def test_run_exits_with_75_when_a_consumer_left_events():
    done = run_program(OWN_BUS.format(main="consumed", seconds=60, timeout=0.1))

    assert done.returncode == 75


HELD = """
import time

@edr.on(app_name="hold")
async def hold(event):
    print("held", flush=True)
    number = signal.Signals[event.body["signal"]]
    end = time.monotonic() + 20
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    while time.monotonic() < end:  # plain code that never yields to the loop
        pass
    print("was not interrupted", flush=True)

async def main(name):
    await edr.emit("hold", "1", "ok", "info", {"signal": name})
    await asyncio.Event().wait()

"""


def test_second_sigterm_ends_a_loop_that_is_held():
    done = run_program(HELD + "edr.run(main('SIGTERM'))")

    assert done.returncode == 75
    assert done.stdout == "held\n"


@pytest.mark.slow
def test_second_sigint_ends_a_loop_that_is_held():
    program = """
try:
    edr.run(main('SIGINT'))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = run_program(HELD + program)

    assert done.returncode == 0
    assert done.stdout == "held\ninterrupted\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_run_restores_the_signal_handlers_of_the_program(name):
    def own(_number, _frame):
        pass

    before = signal.signal(signal.Signals[name], own)
    try:
        edr.run(asyncio.sleep(0))
        assert signal.getsignal(signal.Signals[name]) is own
    finally:
        signal.signal(signal.Signals[name], before)


LEFT_IN_AN_EARLIER_BUS = """
class Stuck:
    async def drain(self, timeout=None):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
    async def aclose(self):
        pass

@edr.on
async def hangs(event):
    await asyncio.sleep(60)

async def main():
    await emit(10)
    later = edr.Bus()
    later.add_service(Stuck(), "stuck")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

edr.run(main(), drain_timeout=None)
"""


def test_second_signal_in_one_drain_tells_what_other_buses_left():
    done = run_program(LEFT_IN_AN_EARLIER_BUS)

    assert done.returncode == 75
    assert "'hangs' 10" in done.stderr


FAILING_END = """
class Failing:
    bindings = ()
    async def drain(self, timeout=None):
        pass
    async def aclose(self):
        raise OSError("no journal any more")
    def append_nowait(self, event):
        return True
    def statistics(self):
        return self
    failed = 0

@edr.on
async def slowly(event):
    await asyncio.sleep(0.01)
    print("done", flush=True)

async def main():
    await emit(10)
    edr.Bus(journal=Failing()).enter()

edr.run(main())
"""


def test_run_drains_each_bus_when_the_end_of_another_fails():
    done = run_program(FAILING_END)

    assert "no journal any more" in done.stderr
    assert done.stdout.split().count("done") == 10


NOT_STORED = """
import shutil
from edr.journal import SqliteJournal

async def main():
    edr.configure(journal=SqliteJournal({path!r}))
    await edr.emit("app", "1", "ok", "info", {{"n": -1}}, durable=True)
    shutil.rmtree({path!r})
    await emit(3)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

edr.run(main())
"""


def test_run_exits_with_75_when_a_journal_lost_events_at_its_end(tmp_path):
    done = run_program(NOT_STORED.format(path=str(tmp_path / "journal")))

    assert done.returncode == 75
    assert "was closed, and 3 events could not be stored" in done.stderr
