"""Whatever clients do, they receive or are told of every event that they should see."""

import pytest
from support.shuffled_loop import run
from support.stream_model import StreamModel


@pytest.mark.parametrize("history", [True, False], ids=["history", "no-history"])
@pytest.mark.parametrize("size", [3, 10, 400])
def test_received_and_missed_are_all_visible_matches(size, history):
    for seed in range(12):

        async def scenario(seed=seed):
            await StreamModel(seed, size=size, history=history).run(400)

        run(scenario, seed)
