import asyncio
import gc

from edr.bus import LoopEnd


class Owner:
    def __init__(self, calls):
        self.calls = calls

    def ended(self):
        self.calls.append("ended")


def test_loop_end_calls_once_when_the_loop_ends():
    owner = Owner([])

    async def main():
        owner.end = LoopEnd(owner.ended)
        await asyncio.sleep(0)
        assert owner.calls == []

    asyncio.run(main())
    owner.end.exits()

    assert owner.calls == ["ended"]


def test_loop_end_calls_at_exit_when_the_loop_was_closed_alone():
    owner = Owner([])

    async def main():
        owner.end = LoopEnd(owner.ended)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    assert owner.calls == []
    owner.end.exits()

    assert owner.calls == ["ended"]


def test_loop_end_does_not_call_when_it_was_cancelled():
    owner = Owner([])

    async def main():
        end = LoopEnd(owner.ended)
        end.cancel()
        end.cancel()

    asyncio.run(main())

    assert owner.calls == []


def test_loop_end_keeps_no_object_alive():
    calls = []

    async def main():
        owner = Owner(calls)
        owner.end = LoopEnd(owner.ended)
        del owner
        gc.collect()

    asyncio.run(main())

    assert calls == []


def test_loop_end_does_not_call_at_exit_while_the_loop_runs():
    owner = Owner([])

    async def main():
        end = LoopEnd(owner.ended)
        end.exits()
        assert owner.calls == []
        end.cancel()

    asyncio.run(main())
