"""Parts, a bus and servers that write what happens to them into one list."""

import asyncio
from types import SimpleNamespace

from edr.app.config import Secrets, read


class FakePart:
    """A part. ``faults`` has a step -> an exception, or "hang"."""

    def __init__(self, log, kind, name, config, faults):
        self.log, self.kind, self.name, self.config = log, kind, name, config
        self.faults = faults
        self.bindings = getattr(config, "bindings", ())
        self.is_durable = getattr(config, "durable", True)
        self.left = 0
        self.state = "starting"

    async def _step(self, step):
        self.log.append(f"{step} {self.name}")
        fault = self.faults.get((self.name, step))
        if fault == "hang":
            await asyncio.get_running_loop().create_future()
        if fault is not None:
            raise fault
        await asyncio.sleep(0)

    def status(self):
        return {"state": self.state, "error": None}

    async def prepare(self):
        await self._step("prepare")

    async def start(self):
        await self._step("start")
        self.state = "running"

    async def drain(self, timeout=None):
        self.drain_timeout = timeout
        await self._step("drain")
        return self.left

    async def aclose(self):
        if self.state != "stopped":
            self.state = "stopped"
            await self._step("close")


class FakeParts:
    """Makes ``FakePart``. ``is_replaceable`` says whether ``replace`` changes a part in place."""

    def __init__(self, log, faults=None):
        self.log = log
        self.faults = faults or {}
        self.made = {}
        self.is_replaceable = True

    def make(self, kind, name, config, secrets):
        part = self.made[name] = FakePart(self.log, kind, name, config, self.faults)
        return part

    async def rebind(self, part, config):
        part.bindings = config.bindings
        await part._step("rebind")

    async def replace(self, part, old, new, secrets):
        if self.is_replaceable:
            await part._step("replace")
        return self.is_replaceable

    def widen(self, changes):
        self.log.append("widen")

    def narrow(self, changes):
        self.log.append("narrow")

    async def refresh(self):
        self.log.append("refresh")


class FakeBus:
    """A bus with a journal, as far as the application uses it."""

    def __init__(self, log):
        self.log = log
        self.closed = False
        self.left = {}
        self.failed = 0
        self.open_error = None
        self.journal = SimpleNamespace(flush=self._flush, statistics=self._statistics)

    def _statistics(self):
        return SimpleNamespace(failed=self.failed)

    async def _flush(self):
        self.log.append("flush")

    async def __aenter__(self):
        self.log.append("open journal")
        if self.open_error is not None:
            raise self.open_error
        return self

    async def join(self, timeout=None):
        self.log.append("join")
        return {}

    async def drain(self, timeout=None):
        self.log.append("drain bus")
        self.closed = True
        return self.left

    async def aclose(self):
        if not self.closed:
            self.log.append("close bus")
        self.closed = True


class FakeServer:
    def __init__(self, log, name):
        self.log, self.name, self.is_open = log, name, False

    async def start(self):
        self.log.append(f"start {self.name}")
        self.is_open = True

    async def aclose(self):
        if self.is_open:
            self.log.append(f"close {self.name}")
        self.is_open = False


def configuration(text, environ=None):
    return read(text.encode(), environ=environ).configuration


def secrets(environ=None):
    return Secrets(environ or {})
