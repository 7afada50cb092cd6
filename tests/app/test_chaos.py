"""``edr run`` under load: the programs of benchmarks/, with a few signals and reloads."""

import pytest

from benchmarks.kill_application import Chaos
from benchmarks.reload_application import Reloads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_kills_and_stops_lose_no_accepted_event(tmp_path):
    result = await Chaos(tmp_path, seed=3).run(kills=2, stops=1)

    assert result.signals == {"SIGKILL": 2, "SIGTERM": 1}
    assert result.is_as_promised, str(result)


async def test_reloads_and_faulty_files_change_nothing_else(tmp_path):
    result = await Reloads(tmp_path, seed=2, hanging_options=False).run(6)

    assert result.faulty
    assert result.changes["rebound"]
    assert result.is_as_promised, str(result)
