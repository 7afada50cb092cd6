import asyncio

import pytest
from support import shuffled_loop

from edr.sources import Refused, Stored
from edr.sources.source import Counts, drain_within


@pytest.fixture
def counts(ingest):
    counts = Counts("in", ingest)
    counts.state = "running"
    return counts


async def test_results_are_counted(counts):
    counts.add(Stored(3, 0))
    counts.add(Stored(1, 2, example=Refused(7, "body.a", "no")))
    counts.add(Stored(0, 0, "disk full"))
    statistics = counts.statistics()

    assert (statistics.accepted, statistics.refused, statistics.failed) == (4, 2, 1)
    assert statistics.last_error == "disk full"
    assert counts.status()["offered"] == 6
    assert counts.status()["delivered"] == 4
    assert counts.status()["lost"] == {"refused": 2}


async def test_refused_lines_are_logged_once_in_a_while(counts, caplog):
    for line in range(5):
        counts.add(Stored(0, 2, example=Refused(line, "body.a", "no\nforged line")))

    assert [record.getMessage() for record in caplog.records] == [
        "source 'in' refused 2 lines, such as line 0: 'body.a: no\\nforged line'"
    ]


async def test_a_refused_line_is_no_error_of_the_source(counts):
    counts.add(Stored(0, 2, example=Refused(1, "body.a", "no")))

    assert counts.status()["error"] is None


async def test_the_error_of_a_source_ends_when_it_runs(counts, journal):
    counts.failed("disk full")
    journal.error = "disk full"
    assert counts.status()["error"] == "disk full"
    journal.error = None

    assert (counts.status()["error"], counts.status()["last_error"]) == (None, "disk full")


async def test_running_source_waits_while_the_journal_cannot_store(counts, journal):
    assert counts.statistics().state == "running"
    journal.error = "disk full"
    assert counts.statistics().state == "waiting"
    counts.state = "stopped"
    assert counts.statistics().state == "stopped"


@pytest.mark.parametrize(("timeout", "took"), [(5.0, 5.0), (None, 100.0)])
def test_a_drain_has_a_limit_and_closes_after_it(timeout, took):
    async def main():
        log = []

        async def stop():
            log.append("stop")
            await asyncio.sleep(100)

        async def aclose():
            log.append("close")

        log.append(await drain_within(timeout, stop, aclose))
        return log, asyncio.get_running_loop().time()

    assert shuffled_loop.run(main) == (["stop", "close", 0], pytest.approx(took))
