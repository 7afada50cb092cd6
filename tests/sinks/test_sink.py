"""``Sink`` is a protocol: three methods are enough."""

from support.sinks import MemorySink

from edr.sinks import Batch


class Lines:
    """The smallest sink."""

    def __init__(self):
        self.lines = []

    async def open(self):
        pass

    async def write(self, batch):
        self.lines += [event.body["n"] for event in batch]

    async def aclose(self):
        pass


def test_three_methods_are_a_sink(in_rig):
    async def scenario(rig):
        sink = Lines()
        worker = rig.worker(sink, batch=Batch(events=2))
        await worker.start()
        rig.emit(1, 2, 3)
        await worker.drain(5)
        return sink.lines

    assert in_rig(scenario) == [1, 2, 3]


def test_a_sink_is_closed_also_if_it_could_not_be_opened(in_rig):
    async def scenario(rig):
        sink = MemorySink(open_faults=[OSError("no"), None])
        worker = rig.worker(sink)
        await worker.start()
        rig.emit(1)
        await worker.drain(5)
        await worker.aclose()
        return sink.opened, sink.closed

    assert in_rig(scenario) == (1, 2)
