"""A folder with a short path for each test, because a socket's path is limited."""

import shutil
import tempfile

import pytest


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(prefix="edr-", dir="/tmp")
    yield path
    shutil.rmtree(path, ignore_errors=True)
