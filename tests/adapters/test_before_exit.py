"""A function that is called before the server handles a signal."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from contextvars import ContextVar

import pytest

from edr.adapters.before_exit import before_exit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there")


@pytest.fixture
def server():
    """Handle SIGTERM as a server does, and return the list of received signals."""
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


async def test_a_signal_calls_the_callback_and_the_server(server):
    called = asyncio.Event()
    with before_exit(called.set):
        terminate()
        await asyncio.wait_for(called.wait(), 5)

    assert server == [signal.SIGTERM]


async def test_the_second_signal_is_passed_on_without_a_second_call(server):
    calls = []
    with before_exit(lambda: calls.append("call")):
        terminate()
        terminate()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert calls == ["call"]
    assert server == [signal.SIGTERM, signal.SIGTERM]


async def test_an_async_callback_runs_in_the_loop(server):
    stopped = asyncio.Event()

    async def stop():
        await asyncio.sleep(0)
        stopped.set()

    with before_exit(stop):
        terminate()
        await asyncio.wait_for(stopped.wait(), 5)


async def test_a_handler_of_the_loop_is_called_too():
    called, handled = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, handled.set)  # as Hypercorn does
    try:
        with before_exit(called.set):
            terminate()
            await asyncio.wait_for(called.wait(), 5)
            await asyncio.wait_for(handled.wait(), 5)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_a_callback_that_raises_is_logged(server, caplog):
    def stop():
        raise OSError("no socket")

    with before_exit(stop):
        terminate()
        for _ in range(3):
            await asyncio.sleep(0)

    assert "of before_exit failed: OSError('no socket')" in caplog.text
    assert server == [signal.SIGTERM]


async def test_close_restores_the_handlers(server):
    ours = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    exits = before_exit(server.clear)
    exits.close()
    exits.close()

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == ours


async def test_close_keeps_a_handler_that_was_set_later(server):
    exits = before_exit(server.clear)
    inner = signal.getsignal(signal.SIGTERM)

    def later(number, frame):
        inner(number, frame)

    signal.signal(signal.SIGTERM, later)
    exits.close()
    terminate()

    assert signal.getsignal(signal.SIGTERM) is later
    assert server == [signal.SIGTERM]  # through the handler of the closed one


async def test_a_signal_that_ends_the_process_keeps_its_default():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with before_exit(print):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_the_callback_has_the_context_of_its_registration(server):
    seen, request = [], ContextVar("request", default="none")
    with before_exit(lambda: seen.append(request.get())):
        request.set("r1")
        terminate()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert seen == ["none"]


def test_a_thread_has_no_signals_to_change(server):
    before = signal.getsignal(signal.SIGTERM)

    async def register():
        before_exit(server.clear)

    thread = threading.Thread(target=lambda: asyncio.run(register()))
    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) is before


def test_it_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        before_exit(print)


# Under uvicorn

PROGRAM = """
import asyncio, uvicorn
from edr.adapters.before_exit import before_exit

stopping = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        with before_exit(stopping.set):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        print("drained", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"begin\\n", "more_body": True})
    await (stopping if scope["path"] == "/stream" else asyncio.Event()).wait()
    await send({"type": "http.response.body", "body": b"end\\n"})

uvicorn.run(app, port=0, access_log=False)
"""


@pytest.fixture
def uvicorn():
    """Start a program under uvicorn, and return the process and its address."""
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(filter(None, (re.search(r"http://[\d.:]+", line) for line in lines)))[0]
            yield process, address
        finally:
            process.kill()


@pytest.mark.slow
def test_an_open_stream_ends_at_sigterm_under_uvicorn(uvicorn):
    process, address = uvicorn
    with urllib.request.urlopen(f"{address}/stream", timeout=10) as response:  # noqa: S310
        assert response.readline() == b"begin\n"
        process.terminate()
        assert response.read() == b"end\n"

    output, _ = process.communicate(timeout=10)
    assert output == "drained\n"
    assert process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_a_second_signal_reaches_uvicorn(uvicorn):
    process, address = uvicorn
    with urllib.request.urlopen(f"{address}/hangs", timeout=10) as response:  # noqa: S310
        assert response.readline() == b"begin\n"
        process.send_signal(signal.SIGTERM)
        lines = iter(process.stderr.readline, "")
        assert any("Waiting for connections" in line for line in lines)
        process.send_signal(signal.SIGINT)  # uvicorn's signal to stop waiting
        process.communicate(timeout=10)

    assert process.returncode is not None
