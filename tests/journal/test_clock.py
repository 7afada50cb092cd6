"""A rig of clocks: ahead, behind, by decades, beyond what a datetime can say, and no number."""

import math
import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from contracts.journal import all_of, event, events, numbers
from journal.conftest import everything

from edr.journal import SqliteJournal
from edr.journal.clock import LATEST, MIN_JUMP_TIME, AgeClock, Clock
from edr.journal.codec import microseconds

SECOND = 1_000_000
HOUR = 3600 * SECOND
YEAR = 8766 * HOUR


def times_in(store):
    entries = store.read(lambda disk: disk.at(range(1, store.last + 1)))
    return [microseconds(entry.recorded_at) for entry in entries]


def since(store, moment, now):
    start = store.read(lambda disk: disk.before(moment, now))
    return everything(store, after=start)


# Readings


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0, 253_402_300_800.0, "noon", None])
def test_clock_returns_the_last_time_when_a_reading_is_none(wrong, caplog):
    readings = [12.5, wrong, wrong, 13.0]
    clock = Clock(lambda: readings.pop(0))

    assert [clock() for _ in range(4)] == [12_500_000, 12_500_000, 12_500_000, 13_000_000]
    assert len(caplog.records) == 1
    assert repr(wrong) in caplog.text


def test_clock_logs_again_when_it_breaks_again(caplog):
    readings = [math.nan, 1.0, math.nan]
    clock = Clock(lambda: readings.pop(0))
    clock(), clock(), clock()

    assert len(caplog.records) == 2


def test_clock_that_raises_gives_the_systems_time_at_first(caplog):
    def broken():
        raise OSError("no clock")

    assert abs(Clock(broken)() - time.time() * SECOND) < HOUR
    assert "OSError" in caplog.text


# Ages


@pytest.fixture
def age(clock):
    age = AgeClock(timedelta(days=7), lambda: clock.elapsed)
    age.start(clock.now, clock.now)
    return age


def test_age_clock_follows_the_clock_as_time_passes(age, clock):
    for _ in range(100):
        clock.advance(HOUR)

        assert age.at(clock.now) == clock.now


def test_age_clock_ignores_a_jump_that_is_taken_back(age, clock):
    right = clock.now
    assert age.at(right + YEAR) == right
    clock.advance(MIN_JUMP_TIME // 2)
    assert age.at(clock.now + 70 * YEAR) == clock.now
    clock.advance(MIN_JUMP_TIME)

    assert age.at(clock.now) == clock.now


def test_age_clock_follows_a_jump_that_lasts(age, clock):
    clock.now += YEAR
    assert age.at(clock.now) == clock.now - YEAR
    clock.advance(MIN_JUMP_TIME - 1)
    assert age.at(clock.now) == clock.now - YEAR
    clock.advance(1)

    assert age.at(clock.now) == clock.now


def test_age_clock_follows_the_least_of_jumps_that_last(age, clock):
    age.at(clock.now + 70 * YEAR)
    clock.advance(MIN_JUMP_TIME)

    assert age.at(clock.now + YEAR) == clock.now + YEAR


def test_age_clock_waits_anew_for_each_jump(age, clock):
    age.at(clock.now + YEAR)
    age.at(clock.now)
    clock.advance(MIN_JUMP_TIME)

    assert age.at(clock.now + YEAR) == clock.now


def test_age_clock_follows_a_step_back_at_once(age, clock):
    assert age.at(clock.now - YEAR) == clock.now - YEAR


def test_age_clock_follows_small_jumps_at_once(clock):
    age = AgeClock(timedelta(seconds=100), lambda: clock.elapsed)
    age.start(clock.now, clock.now)
    start = clock.now

    assert age.at(start + 10 * SECOND) == start + 10 * SECOND
    assert age.at(start + 20 * SECOND + 1) == start + 10 * SECOND


@pytest.mark.parametrize("newest_by", [-YEAR, YEAR])
def test_age_clock_starts_at_the_earlier_of_clock_and_entry(age, clock, newest_by):
    age.start(clock.now, clock.now + newest_by)

    assert age.at(clock.now) == clock.now + min(0, newest_by)


# Journals


@pytest.mark.slow
def test_no_entry_goes_when_the_clock_is_wrong_for_a_while(make_store, clock):
    store = make_store(max_age=timedelta(days=7))
    rng = random.Random(1)
    for n in range(0, 5120, 256):
        store.append(events(*range(n, n + 256)))
        clock.advance(SECOND)
    for n in range(5120, 5320):
        right = clock.now
        clock.now = rng.choice([0, right, right + rng.randrange(100 * YEAR), LATEST])
        store.append(events(n))
        clock.now = right
        clock.advance(rng.randrange(SECOND))
        if rng.random() < 0.1:
            store.close()
            store.open()

    assert everything(store) == list(range(5320))


def test_entries_age_again_after_the_clock_was_ahead(make_store, clock):
    store = make_store(max_age=timedelta(hours=1))
    store.append(events(*range(256)))
    clock.now += YEAR
    store.append(events(256))
    clock.now -= YEAR
    clock.advance(HOUR // 2)
    store.append(events(*range(257, 600)))
    clock.advance(HOUR // 2 + SECOND)
    store.append(events(600))
    assert everything(store)[1:] == list(range(256, 601))
    clock.advance(HOUR)
    store.append(events(601))

    assert everything(store)[1:] == [600, 601]


def test_entries_go_when_a_program_runs_for_a_moment_each_week(make_store, clock):
    for week in range(3):
        store = make_store(max_age=timedelta(days=1))
        store.append(events(week))
        store.close()
        clock.now += 168 * HOUR
    lost, *left = everything(make_store())

    assert lost.missed == 1
    assert left == [1, 2]


def test_recorded_times_are_right_as_soon_as_the_clock_is(make_store, clock, said):
    store = make_store()
    wanted = []
    for ahead in (0, YEAR, YEAR, 0, -50 * YEAR, 0):
        clock.advance(SECOND)
        store.append(events(len(wanted)), ())
        clock.now += ahead
        wanted.append(clock.now)
        store.append(events(len(wanted)))
        clock.now -= ahead

    assert times_in(store)[1::2] == wanted
    assert len(said) == 3
    assert all("the clock was set back by" in text for text in said)


def test_times_stand_still_when_the_clock_is_set_back_a_little(make_store, clock, said):
    store = make_store()
    first = clock.now
    store.append(events(1))
    clock.now -= 59 * SECOND
    store.append(events(2))

    assert times_in(store) == [first, first]
    assert said == []


def test_since_is_right_after_the_clock_was_wrong(make_store, clock):
    """Also in a journal that was opened again, and in one that was salvaged."""
    store = make_store()
    start, n = clock.now, 0
    for ahead in (0, YEAR, 0, -50 * YEAR, 0):
        for _ in range(20):
            clock.advance(SECOND)
            clock.now += ahead
            store.append(events(n))
            clock.now -= ahead
            n += 1
    for opened_again in (False, True):
        if opened_again:
            store.close()
            store = make_store()
        assert since(store, clock.now - 9 * SECOND, clock.now) == list(range(90, 100))
        assert since(store, start + 45 * SECOND, clock.now) == list(range(44, 100))
        assert since(store, clock.now + HOUR, clock.now) == []
    store.close()
    with (store.path / "journal.sqlite3").open("r+b") as file:
        file.write(b"damaged")

    assert since(make_store(), clock.now - 9 * SECOND, clock.now) == list(range(90, 100))


def test_steps_of_entries_that_are_gone_are_forgotten(make_store, clock):
    store = make_store(max_events=1)
    for n in range(0, 256 * 20, 256):
        clock.now -= 2 * 60 * SECOND
        store.append(events(*range(n, n + 256)))

    assert len(store._metadata.steps) <= 3  # no other way to see that what is stored stays small


async def test_a_clock_beyond_all_dates_keeps_a_journal_going(tmp_path):
    now = time.time()
    async with SqliteJournal(tmp_path / "j", clock=lambda: now) as journal:
        await journal.append(event(0))
        for n, wrong in enumerate([1e12, math.nan, math.inf, -1e12], 1):
            now = wrong
            await journal.append(event(n))
        now = time.time()
        await journal.append(event(5))
        entries = await all_of(journal)

    assert numbers(entries) == list(range(6))
    assert all(abs(each.recorded_at - datetime.now(UTC)) < timedelta(hours=1) for each in entries)
