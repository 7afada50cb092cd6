"""Each sink keeps the contract."""

import os
from contextlib import contextmanager, suppress

import orjson
import pytest
from support.http_receiver import HttpReceiver

import edr
from contracts.sinks import SinkContract
from edr.sinks import Encoder, FileSink, HttpSink, RetryError, StdoutSink


def numbers(data):
    found = []
    for line in data.splitlines():
        with suppress(edr.InvalidEventError):  # a cancelled write may end within a line
            found.append(edr.Event.from_json(line).body["n"])
    return found


class MemoryTarget:
    def __init__(self):
        self.numbers = []
        self.is_away = False

    def sink(self):
        return self

    async def open(self):
        pass

    async def write(self, batch):
        if self.is_away:
            raise RetryError("away")
        self.numbers += [event.body["n"] for event in batch]

    async def aclose(self):
        pass

    def received(self):
        return self.numbers

    @contextmanager
    def fault(self):
        self.is_away = True
        yield
        self.is_away = False


class TestMemory(SinkContract):
    @pytest.fixture
    def target(self):
        return MemoryTarget()


class FileTarget:
    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "events.jsonl"

    def sink(self):
        return FileSink(self.path)

    def received(self):
        return numbers(self.path.read_bytes())

    @contextmanager
    def fault(self):
        """There is no folder at the moment."""
        away = self.folder.rename(self.folder.with_name("away"))
        yield
        away.rename(self.folder)


class TestFile(SinkContract):
    @pytest.fixture
    def target(self, tmp_path):
        (tmp_path / "out").mkdir()
        return FileTarget(tmp_path / "out")


class StdoutTarget:
    def __init__(self, path):
        self.path = path
        self.descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)

    def sink(self):
        return StdoutSink(descriptor=self.descriptor)

    def received(self):
        return numbers(self.path.read_bytes())

    @contextmanager
    def fault(self):
        """The descriptor leads to a disk that is full."""
        kept, full = os.dup(self.descriptor), os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, self.descriptor)
        yield
        os.dup2(kept, self.descriptor)
        os.close(kept)
        os.close(full)


class TestStdout(SinkContract):
    @pytest.fixture
    def target(self, tmp_path):
        target = StdoutTarget(tmp_path / "stdout")
        yield target
        os.close(target.descriptor)


class HttpTarget:
    """The receiver keeps what it answered with 2xx; in a fault it answers 503."""

    def __init__(self, receiver):
        self.receiver = receiver
        receiver.default = lambda: 503 if self.is_away else 204
        self.is_away = False

    def sink(self):
        return HttpSink(self.receiver.url, name="s", encode=Encoder())

    def received(self):
        return [
            each["body"]["n"]
            for request in self.receiver.requests
            if request.status == 204
            for each in orjson.loads(request.body)
        ]

    @contextmanager
    def fault(self):
        self.is_away = True
        yield
        self.is_away = False


class TestHttp(SinkContract):
    @pytest.fixture
    async def target(self):
        async with HttpReceiver() as receiver:
            yield HttpTarget(receiver)
