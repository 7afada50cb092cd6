import asyncio
import errno
import logging
import os
import socket
import stat
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import orjson
import pytest
from support.forking import fork
from support.shuffled_loop import run

import edr
from edr._sockets import Listener
from edr.control import ConnectionLostError, RemoteError, SocketPathError, connect, expose, find
from edr.control import exposed as module
from edr.control.exposed import program_name


def files_in(folder):
    return [each.name for each in Path(folder).iterdir()]


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


# Begin


async def test_an_exposed_bus_is_found_and_says_hello(exposed):
    one = await exposed(history=5)

    (found,) = find("x")
    assert (found.name, found.pid, found.path) == ("x", os.getpid(), one.path)
    async with connect(found.path) as client:
        hello = dict(client.hello)
    assert hello.pop("can")[:5] == ["tail", "top", "explain", "statistics", "bindings"]
    assert hello == {
        "edr": 1,
        "bus": "x",
        "node": "test",
        "pid": os.getpid(),
        "version": edr.__version__,
        "history": 5,
    }


async def test_the_socket_and_its_folder_are_only_for_this_user(exposed):
    one = await exposed()

    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.path.parent.stat().st_mode) == 0o700


async def test_the_default_bus_and_the_name_of_the_program_are_the_defaults(folder):
    async with await expose() as one:
        assert one.path.name == f"{program_name()}.{os.getpid()}.sock"
        assert one in edr.default_bus().services
    await edr.default_bus().aclose()


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/usr/bin/calls-api", "calls-api"),
        ("/srv/calls/__main__.py", "calls"),
        ("/srv/my app.py", "my-app"),
        ("-c", "c"),
        ("", "python"),
        ("/x/" + "n" * 100, "n" * 63),
    ],
)
def test_the_name_of_a_program_can_be_part_of_a_file_name(monkeypatch, program, name):
    monkeypatch.setattr(sys, "argv", [program])

    assert program_name() == name


async def test_a_path_replaces_the_runtime_folder(bus, folder):
    async with expose(bus, name="x", path=f"{folder}/own.sock", mode=0o660) as one:
        assert one.path == Path(folder, "own.sock")
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o660
        assert find() == []


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": ".hidden"},
        {"name": "x" * 64},
        {"name": 5},
        {"history": -1},
        {"history": True},
        {"allow": {"emits"}},
        {"allow": {"reload"}},
        {"mode": 0o400},
        {"mode": 0o4600},
        {"mode": "0600"},
    ],
)
def test_a_wrong_option_is_refused_before_it_is_awaited(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))}"):
        expose(**options)


async def test_an_unsafe_folder_is_refused_and_nothing_is_left(bus, folder):
    os.chmod(folder, 0o777)  # noqa: PTH101, S103 - as it must not be
    with pytest.raises(SocketPathError):
        await expose(bus)

    assert bus.services == ()
    assert files_in(folder) == []


async def test_a_second_bus_of_a_process_needs_another_name(exposed, bus):
    await exposed()
    with pytest.raises(SocketPathError, match="use another name"):
        await expose(bus, name="x")

    assert len(find()) == 1


async def test_a_closed_bus_cannot_be_exposed(bus, folder):
    await bus.aclose()
    with pytest.raises(edr.BusClosedError):
        await expose(bus)

    assert files_in(folder) == []


# End


async def test_the_end_of_the_block_closes_and_removes_the_socket(bus, folder):
    async with expose(bus, name="x") as one:
        client = await connect(one.path)
        tail = client.request("tail")
        await client.ask("bindings")
    await one.aclose()

    assert files_in(folder) == []
    assert (await anext(tail))["is"] == "end"
    await turns()
    with pytest.raises(ConnectionLostError, match="the control socket was closed"):
        client.request("tail")
    assert bus.services == ()
    await client.aclose()


async def test_the_drain_of_a_bus_can_be_watched_and_does_not_wait_for_observers(folder):
    bus = edr.Bus()
    going, released = asyncio.Event(), asyncio.Event()

    @bus.on(name="slow", app_name="app")
    async def slow(event):
        going.set()
        await released.wait()
        await bus.emit("after", "1", "ok", "info", {})

    one = await expose(bus, name="x")
    client = await connect(one.path)
    tail = client.request("tail")
    await client.ask("bindings")
    await bus.emit("app", "1", "ok", "info", {})
    await going.wait()
    draining = asyncio.ensure_future(bus.drain())
    await turns()
    state = await client.ask("statistics")
    late = await connect(one.path)
    released.set()

    assert state["subscriptions"][0]["in_flight"] == 1
    assert await draining == {}
    shown = [each async for each in tail]
    assert [each["event"]["app_name"] for each in shown[:-1]] == ["app", "after"]
    assert shown[-1] == {"id": 1, "is": "end", "shown": 2, "missed": 0}
    assert not one.path.exists()
    with pytest.raises(ConnectionLostError, match="the bus has closed"):
        await late.ask("statistics")
    await client.aclose()
    await late.aclose()


async def test_the_socket_stays_open_while_other_services_drain(folder):
    draining, released = asyncio.Event(), asyncio.Event()

    class Link:
        async def drain(self, timeout=None):
            draining.set()
            await released.wait()
            return 0

        async def aclose(self): ...

    bus = edr.Bus()
    one = await expose(bus, name="x")
    bus.add_service(Link(), "link")
    ending = asyncio.ensure_future(bus.drain())
    await draining.wait()
    await turns()
    async with connect(one.path) as client:
        assert (await client.ask("bindings"))["count"] == 0
    released.set()
    await ending

    assert not one.path.exists()


def test_the_end_of_a_loop_removes_the_socket(folder):
    async def main():
        bus = edr.Bus()
        one = await expose(bus, name="x")
        client = await connect(one.path)
        client.request("tail")
        await client.ask("bindings")
        client._writer.transport.abort()
        return one.path

    path = asyncio.run(main())

    assert not path.exists()


@pytest.mark.parametrize("seed", range(10))
def test_cancelling_the_close_does_not_stop_it(folder, seed):
    async def main():
        bus = edr.Bus()
        one = await expose(bus, name="x")
        client = await connect(one.path)
        tail = client.request("tail")
        await client.ask("bindings")
        closing = asyncio.ensure_future(one.aclose())
        await turns(seed)
        closing.cancel()
        await asyncio.wait([closing])
        await one.aclose()
        await client.aclose()
        await bus.aclose()
        del tail
        return len(asyncio.all_tasks()), one.path.exists()

    assert run(main, seed) == (1, False)


def test_clients_that_do_not_read_are_disconnected_after_a_moment(folder):
    async def main():
        loop = asyncio.get_running_loop()
        bus = edr.Bus()
        one = await expose(bus, name="x")
        async with AsyncExitStack() as stack:
            for _ in range(5):
                client = await stack.enter_async_context(stuck(one.path, "top", every=0.2))
            while one.statistics().requests < 5:
                await asyncio.sleep(0.1)
            kept = [bus.subscribe(name="x" * 400) for _ in range(500)]
            await asyncio.sleep(60)  # until the buffers are full
            before = loop.time()
            await bus.aclose()
            del kept, client
            return loop.time() - before, one.statistics().connections

    took, connections = run(main)
    assert 0 < took <= module.READ_TIMEOUT + 0.1
    assert connections == 0


def test_a_client_that_reads_slowly_receives_its_last_line(folder):
    async def main():
        bus = edr.Bus()
        one = await expose(bus, name="x")
        kept = [bus.subscribe(name="x" * 400) for _ in range(500)]
        async with stuck(one.path, "top", every=0.2) as client:
            await asyncio.sleep(60)  # until the buffers are full
            client.socket.setblocking(False)
            closing = asyncio.ensure_future(bus.aclose())
            read = bytearray()
            while not closing.done():
                await asyncio.sleep(0.1)
                with suppress(BlockingIOError):
                    while chunk := client.socket.recv(65536):
                        read += chunk
            del kept
            return bytes(read.splitlines()[-1])

    assert b'"is":"bye"' in run(main)


class stuck:  # noqa: N801 - used as a function
    """A client that makes a request and never reads."""

    def __init__(self, path, do, **fields):
        self.line = orjson.dumps({"id": 1, "do": do, **fields}) + b"\n"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(str(path))

    async def __aenter__(self):
        self.socket.send(self.line)
        return self

    async def __aexit__(self, *_):
        self.socket.close()


# Observers


async def stuck_tails(one, count, stack, **fields):
    for _ in range(count):
        await stack.enter_async_context(stuck(one.path, "tail", **fields))
    while one.statistics().requests < count:
        await asyncio.sleep(0)
    await turns()


async def test_stuck_tails_hold_no_emit_and_no_drain(exposed, bus, stack):
    one = await exposed()
    await stuck_tails(one, 20, stack)
    subscription = bus.subscribe(capacity=20_000)
    admitted = [await bus.emit("app", "1", "ok", "info", {"text": "x" * 500}) for _ in range(6000)]
    emitted_without_a_turn = subscription.statistics().pending

    assert set(admitted) == {1}
    assert emitted_without_a_turn == 6000
    assert bus.statistics().subscriptions == 1
    assert await bus.join(0) == {subscription.name: 6000}
    subscription.shutdown()
    await subscription.aclose()
    assert await bus.drain() == {}


async def test_a_stuck_tail_is_told_its_exact_gap_when_it_reads_again(exposed, bus, stack):
    one = await exposed()
    reader, writer = await asyncio.open_unix_connection(str(one.path), limit=2**20)
    stack.callback(writer.close)
    writer.transport.pause_reading()
    writer.write(b'{"id":1,"do":"tail"}\n')
    while not one.statistics().requests:
        await asyncio.sleep(0)
    await turns()
    count = 12_000
    for n in range(count):
        await bus.emit("app", "1", "ok", "info", {"n": n, "text": "x" * 100})
        if n % 50 == 0:
            await asyncio.sleep(0)
    writer.transport.resume_reading()
    shown = missed = 0
    seen = []
    await reader.readline()
    while shown + missed < count:
        message = orjson.loads(await reader.readline())
        if message["is"] == "gap":
            missed += message["missed"]
        else:
            shown += 1
            seen.append(message["event"]["body"]["n"])

    assert shown + missed == count
    assert missed > 1000
    assert seen == sorted(set(seen))


async def test_observers_are_not_interest_and_not_subscriptions(client_of, bus):
    interest = []
    watch = bus.watch_interest(lambda *change: interest.append(change))
    client = await client_of(history=10)
    tails = [client.request("tail", bindings=[{"severity": "critical"}]) for _ in range(3)]
    await client.ask("bindings")

    assert interest == []
    assert bus.subscriptions() == ()
    assert await bus.emit("app", "1", "critical", "info", {}) == 0
    for tail in tails:
        tail.stop()
    watch.close()


# Peers and limits


async def test_more_connections_than_the_limit_are_refused(exposed, monkeypatch, stack):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    one = await exposed()
    for _ in range(2):
        await stack.enter_async_context(connect(one.path))
    with pytest.raises(RemoteError) as raised:
        await connect(one.path)

    assert raised.value.code == "too_many_connections"
    assert one.statistics().refused == 1


@pytest.mark.parametrize(("uid", "is_served"), [(os.geteuid() + 1, False), (0, True)])
async def test_only_this_user_and_root_are_served(exposed, monkeypatch, caplog, uid, is_served):
    monkeypatch.setattr(module, "peer_uid", lambda _: uid)
    one = await exposed()
    if is_served:
        async with connect(one.path):
            return
    with pytest.raises(RemoteError) as raised:
        await connect(one.path)

    assert raised.value.code == "not_permitted"
    assert f"refused a connection of the user {uid}" in caplog.text


async def test_a_peer_of_an_unknown_user_is_refused(exposed, monkeypatch):
    def unknown(_):
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(module, "peer_uid", unknown)
    one = await exposed()

    with pytest.raises(RemoteError):
        await connect(one.path)


FOREIGN = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
one = socket.socket(socket.AF_UNIX)
one.connect(sys.argv[1])
print(one.recv(1000).decode())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused_even_if_it_can_reach_the_socket(exposed):
    one = await exposed()
    one.path.parent.chmod(0o777)
    one.path.chmod(0o777)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FOREIGN, str(one.path), stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    one.path.parent.chmod(0o700)

    assert orjson.loads(said)["code"] == "not_permitted"


@pytest.mark.parametrize("call", ["accept", "connect_accepted_socket"])
async def test_a_process_without_descriptors_accepts_later(exposed, monkeypatch, caplog, call):
    monkeypatch.setattr(module, "ACCEPT_PAUSE", 0)
    owner = Listener if call == "accept" else asyncio.get_running_loop()
    original, faults = getattr(owner, call), [OSError(errno.EMFILE, "too many open files")]

    async def failing(*args):
        if faults:
            raise faults.pop()
        return await original(*args)

    monkeypatch.setattr(owner, call, failing)
    one = await exposed()
    if call == "connect_accepted_socket":
        with pytest.raises(ConnectionLostError):
            await connect(one.path)

    async with connect(one.path):
        pass
    assert "cannot accept connections now" in caplog.text


# Fork


async def test_a_forked_child_neither_removes_nor_keeps_the_socket(exposed, stack):
    one = await exposed()
    client = await stack.enter_async_context(connect(one.path))
    child = fork()
    if not child:
        status = 0
        try:
            closing = one.aclose()
            with pytest.raises(StopIteration):
                closing.send(None)
            status = 7
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert one.path.exists()
    assert (await client.ask("bindings"))["is"] == "end"
    async with connect(one.path):
        pass


async def test_opening_is_logged(exposed, caplog):
    with caplog.at_level(logging.INFO, "edr"):
        one = await exposed()

    assert f"control socket of x opened at {one.path}" in caplog.text
