"""A runtime folder for each test. Its path is short, because a socket's path is limited."""

import shutil
import tempfile

import pytest


@pytest.fixture
def folder(monkeypatch):
    path = tempfile.mkdtemp(prefix="edr-", dir="/tmp")
    monkeypatch.setenv("EDR_RUNTIME_DIR", path)
    yield path
    shutil.rmtree(path, ignore_errors=True)
