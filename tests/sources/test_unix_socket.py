import asyncio
import os
import stat

import pytest
from support.consuming import until
from support.forking import fork
from support.sources import SocketPeer, SocketPeers, lines

from edr.errors import SocketPathError
from edr.sources import SocketSource


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_socket_has_its_mode_and_is_removed_at_the_stop(ingest, folder, mode):
    source = SocketSource("in", ingest, folder / "in.sock", mode=mode)
    await source.start()
    await source.start()
    assert stat.S_IMODE(source.path.stat().st_mode) == mode
    await source.drain()

    assert not source.path.exists()


@pytest.mark.parametrize(
    "options", [{"mode": 0o400}, {"mode": "600"}, {"max_connections": 0}, {"idle_timeout": 0}]
)
async def test_wrong_option_is_refused(ingest, folder, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SocketSource("in", ingest, folder / "in.sock", **options)


async def test_unsafe_folder_is_refused(ingest, folder):
    folder.chmod(0o777)
    with pytest.raises(SocketPathError, match="could replace the socket"):
        await SocketSource("in", ingest, folder / "in.sock").start()

    assert list(folder.iterdir()) == []


async def test_other_users_are_refused(ingest, folder, monkeypatch, caplog):
    monkeypatch.setattr("edr.sources.unix_socket.peer_uid", lambda _: os.geteuid() + 1)
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    assert await peer.rest() == b""

    assert f"source 'in' refused a connection of the user {os.geteuid() + 1}" in caplog.text
    await peer.aclose()
    await peers.source.aclose()


async def test_wider_mode_serves_the_users_of_the_file(ingest, folder, monkeypatch):
    monkeypatch.setattr("edr.sources.unix_socket.peer_uid", lambda _: os.geteuid() + 1)
    source = SocketSource("in", ingest, folder / "in.sock", mode=0o666)
    await source.start()
    peer = await SocketPeer.connect(source.path)
    peer.send(lines(1))

    assert (await peer.end())["accepted"] == 1
    await peer.aclose()
    await source.aclose()


async def test_clients_above_the_limit_wait(ingest, folder):
    source = SocketSource("in", ingest, folder / "in.sock", max_connections=2)
    await source.start()
    first, second, third = [await SocketPeer.connect(source.path) for _ in range(3)]
    third.send(lines(3))
    answering = asyncio.ensure_future(third.end())
    first.send(lines(1) + b"\n")
    second.send(lines(2) + b"\n")
    await first.answer()
    await second.answer()
    assert source.statistics().connections == 2
    assert not answering.done()
    await first.aclose()

    assert (await answering)["accepted"] == 1
    for peer in (second, third):
        await peer.aclose()
    await source.aclose()


async def test_idle_client_is_answered_and_disconnected(ingest, folder, journal):
    source = SocketSource("in", ingest, folder / "in.sock", idle_timeout=0.1)
    await source.start()
    peer = await SocketPeer.connect(source.path)
    peer.send(lines(1) + b'{"app')

    answer = await peer.answer()
    assert answer["accepted"] == 1
    assert answer["not_stored"] == {"line": 2, "reason": "the connection was idle for 0.1 s"}
    assert await peer.rest() == b""
    await peer.aclose()
    await source.aclose()


async def test_client_that_goes_leaves_the_others(ingest, folder, journal):
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    other = await peers.another()
    peer.send(lines(1))
    peer.writer.transport.abort()
    other.send(lines(2))

    assert (await other.end())["accepted"] == 1
    await until(lambda: peers.source.statistics().connections == 0)
    await other.aclose()
    await peer.aclose()
    await peers.source.aclose()


async def test_client_that_does_not_read_is_disconnected(ingest, folder, monkeypatch):
    monkeypatch.setattr("edr.sources.unix_socket.WRITE_TIMEOUT", 0.01)
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    peer.reader._transport.pause_reading()
    peer.send(b"\n" * 200_000)
    await until(lambda: peers.source.statistics().connections == 0)

    await peer.aclose()
    await peers.source.aclose()


async def test_client_that_is_sending_at_the_stop_reads_its_answer(ingest, folder, journal):
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    journal.hold()
    peer.send(lines(1))
    await until(lambda: journal.accepted)
    peer.send(lines(*range(2, 30_000)))  # more than the buffers of the kernel
    stopping = asyncio.ensure_future(peers.source.drain())
    journal.release()
    answer = await peer.answer()
    await peer.aclose()
    await stopping

    assert (answer["accepted"], answer["not_stored"]["line"]) == (1, 2)
    assert journal.numbers == [1]


async def test_client_that_goes_on_sending_does_not_hold_the_stop(
    ingest, folder, journal, monkeypatch
):
    monkeypatch.setattr("edr.sources.unix_socket.LINGER", 0.01)
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    peer.send(lines(1) + b"\n")
    await peer.answer()
    await peers.source.drain()

    assert peers.source.statistics().connections == 0
    await peer.aclose()


async def test_forked_process_does_not_keep_a_connection_open(ingest, folder):
    peers = SocketPeers(ingest, folder)
    peer = await peers.start()
    peer.send(lines(1) + b"\n")
    await peer.answer()
    waits, end = os.pipe()
    child = fork()
    if not child:
        os.close(end)  # so that it ends with the test, however that ends
        os.read(waits, 1)
        os._exit(0)
    try:
        await peers.source.aclose()
        async with asyncio.timeout(20):
            assert await peer.rest() == b""
    finally:
        os.write(end, b"x")
        os.waitpid(child, 0)
        os.close(waits)
        os.close(end)
    await peer.aclose()
