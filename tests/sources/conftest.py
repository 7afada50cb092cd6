"""A bus with a journal that a test can hold, an ingest of it, and a folder with a short path."""

import shutil
import tempfile
from pathlib import Path

import pytest
from support.sources import HeldJournal

import edr
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
    return edr.AccountTree({"shop": "acme", "acme": "root", "other": "root"})


@pytest.fixture
async def bus(journal, accounts):
    bus = edr.Bus(journal=journal, accounts=accounts, node="here")
    yield bus
    await bus.aclose()


@pytest.fixture
def ingest(bus):
    return Ingest(bus)
