import asyncio

from edr.testing import run
from edr.web.watch import Watch


class Client:
    def __init__(self, writing_since=None):
        self.writing_since = writing_since
        self.written_at = 0.0
        self.calls = []

    def beat(self):
        self.written_at = asyncio.get_running_loop().time()
        self.calls.append(("beat", self.written_at))

    def give_up(self):
        self.writing_since = None
        self.calls.append(("give up", asyncio.get_running_loop().time()))


def watched(client, seconds):
    async def main():
        start = asyncio.get_running_loop().time()
        client.written_at = start
        if client.writing_since is not None:
            client.writing_since = start
        watch = Watch(lambda: [client], heartbeat=15, send_timeout=10)
        watch.start()
        watch.start()
        await asyncio.sleep(seconds)
        watch.stop()
        await asyncio.sleep(100)
        return [(what, at - start) for what, at in client.calls]

    return run(main)


def test_client_without_a_write_receives_heartbeats():
    calls = watched(Client(), 31)

    assert [what for what, _ in calls] == ["beat", "beat"]
    assert 13 <= calls[0][1] <= 15
    assert calls[1][1] - calls[0][1] <= 15


def test_write_that_takes_too_long_is_given_up():
    [(what, at), *_] = watched(Client(writing_since=0.0), 12)

    assert what == "give up"
    assert 10 <= at <= 11.1
