"""The loop of ``edr.testing``, which begins each task at once where ``EDR_EAGER`` asks for it."""

import asyncio
import os

from edr import testing
from edr.testing import LoopDeadlockError

__all__ = ["LoopDeadlockError", "ShuffledLoop", "run", "set_task_factory"]


class ShuffledLoop(testing.ShuffledLoop):
    def __init__(self, seed=None):
        super().__init__(seed)
        set_task_factory(self)


def set_task_factory(loop):
    if os.environ.get("EDR_EAGER"):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def run(coro_fn, seed=None, *, debug=False):
    """Run ``coro_fn()`` in a new ``ShuffledLoop``, cancel what it left, and return its result."""
    with asyncio.Runner(loop_factory=lambda: ShuffledLoop(seed), debug=debug) as runner:
        return runner.run(coro_fn())
