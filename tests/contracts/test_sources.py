"""Every source keeps the contract."""

import shutil
import tempfile
from pathlib import Path

import pytest
from support.sources import HeldJournal, HttpPeers, SocketPeers, StdinPeers

import edr
from contracts.sources import SourceContract, StreamContract
from edr.sources import Ingest


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="edr-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def journal():
    return HeldJournal()


@pytest.fixture
def accounts():
    return edr.AccountTree()


@pytest.fixture
async def bus(journal, accounts):
    bus = edr.Bus(journal=journal, accounts=accounts, node="here")
    yield bus
    await bus.aclose()


class Fixtures:
    make_peers = None

    @pytest.fixture
    async def peers(self, bus, folder, monkeypatch):
        monkeypatch.setattr("edr.sources.unix_socket.LINGER", 0.05)
        monkeypatch.setattr("edr.sources.ingest.RECHECK", 0.01)
        peers = self.make_peers(Ingest(bus), folder)
        opened = []
        start = peers.start

        async def started():
            opened.append(await start())
            return opened[-1]

        peers.start = started
        yield peers
        await peers.source.aclose()
        for peer in opened:
            await peer.aclose()


class TestSocketSource(Fixtures, StreamContract):
    make_peers = SocketPeers


class TestStdinSource(Fixtures, StreamContract):
    make_peers = StdinPeers


class TestHttpIngest(Fixtures, SourceContract):
    make_peers = HttpPeers
