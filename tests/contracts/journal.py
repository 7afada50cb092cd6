"""What every journal does. Subclass the contracts in a test module, with fixtures:

``make_journal(**options)`` makes a journal, not opened yet, each time on the storage of this test;
``max_events=…`` is the one option it must know. What it made, it closes.

``make_refused(n)``, for ``StorageContract``, makes an event that the journal accepts, and whose
storage refuses it permanently; an event that is emitted with its body is refused too.
"""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

import edr
from edr.journal import (
    ConsumerInUseError,
    Entry,
    EventsRefusedError,
    JournalError,
    JournalStatistics,
    WrongJournalError,
)


def event(n, app_name="app", severity="ok", verbosity="info", **fields):
    body = {"n": n, **fields.pop("body", {})}
    return edr.Event(
        app_name=app_name,
        app_version="1",
        severity=severity,
        verbosity=verbosity,
        body=body,
        **fields,
    )


def events(*numbers, **fields):
    return [event(n, **fields) for n in numbers]


def numbers(entries):
    return [entry.event.body["n"] for entry in entries]


async def all_of(journal, *bindings, **start):
    return [
        entry async for entry in journal.cursor(*bindings, live=False, **(start or {"after": 0}))
    ]


async def take(reading, count):
    return [await anext(reading) for _ in range(count)]


class JournalContract:
    # What is stored

    async def test_append_returns_the_position_of_the_last(self, make_journal):
        async with make_journal() as journal:
            first = await journal.append(event(1))
            third = await journal.append(*events(2, 3))
            entries = await all_of(journal)

        assert [entry.position for entry in entries][::2] == [first, third]
        assert numbers(entries) == [1, 2, 3]

    async def test_an_entry_holds_the_event_as_it_was(self, make_journal):
        given = edr.Event(
            app_name="größer",
            app_version="1.*",
            severity="critical",
            verbosity="trace",
            account_id="a",
            account_tree=("root", "b"),
            node="here",
            id="any id",
            timestamp=datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
            body={"deep": [{"list": [1, 2.5, None, True, "\x00☃"]}], "big": 2**64 - 1, "": {}},
        )
        async with make_journal() as journal:
            await journal.append(given)
            (entry,) = await all_of(journal)

        assert entry.event == given
        assert entry.event.to_json() == given.to_json()
        with pytest.raises(TypeError):
            entry.event.body["deep"][0]["list"].append(1)

    async def test_positions_rise_and_times_never_go_back(self, make_journal):
        async with make_journal() as journal:
            for n in range(50):
                await journal.append(event(n))
            entries = await all_of(journal)

        positions = [entry.position for entry in entries]
        times = [entry.recorded_at for entry in entries]
        assert positions == sorted(set(positions))
        assert positions[0] > 0
        assert times == sorted(times)
        assert times[0].utcoffset() == timedelta(0)

    async def test_what_is_accepted_is_stored_when_flush_returns(self, make_journal):
        async with make_journal() as journal:
            assert all(journal.append_nowait(event(n)) for n in range(10))
            last = await journal.flush()
            entries = await all_of(journal)

        assert numbers(entries) == list(range(10))
        assert entries[-1].position == last

    async def test_append_and_append_nowait_keep_one_order(self, make_journal):
        async with make_journal() as journal:
            journal.append_nowait(event(0))
            appending = asyncio.ensure_future(journal.append(*events(1, 2)))
            await asyncio.sleep(0)
            journal.append_nowait(event(3))
            await appending
            await journal.append(event(4))

            assert numbers(await all_of(journal)) == [0, 1, 2, 3, 4]

    async def test_the_events_of_many_emitters_are_each_stored_once_in_their_order(
        self, make_journal
    ):
        async def emit(journal, emitter):
            for n in range(20):
                await journal.append(event(n, body={"emitter": emitter}))

        async with make_journal() as journal:
            await asyncio.gather(*[emit(journal, emitter) for emitter in range(30)])
            entries = await all_of(journal)

        assert len(entries) == 600
        for emitter in range(30):
            mine = [each for each in entries if each.event.body["emitter"] == emitter]
            assert numbers(mine) == list(range(20))

    async def test_append_without_events_returns_the_newest_position(self, make_journal):
        async with make_journal() as journal:
            last = await journal.append(*events(1, 2))

            assert await journal.append() == last == await journal.flush()

    async def test_a_cancelled_append_leaves_the_journal_whole(self, make_journal):
        async with make_journal() as journal:
            appending = asyncio.ensure_future(journal.append(event(1)))
            await asyncio.sleep(0)
            appending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await appending
            await journal.append(event(2))

            assert numbers(await all_of(journal)) in ([1, 2], [2])

    async def test_what_is_no_event_is_refused_and_nothing_is_stored(self, make_journal):
        async with make_journal() as journal:
            with pytest.raises(edr.InvalidEventError):
                await journal.append(event(1), {"n": 2})

            assert await all_of(journal) == []

    # What stays

    async def test_it_is_all_there_when_it_is_opened_again(self, make_journal):
        async with make_journal() as journal:
            last = await journal.append(*events(*range(100)))
            name = journal.id
        async with make_journal() as journal:
            assert journal.id == name
            assert numbers(await all_of(journal)) == list(range(100))
            assert await journal.append(event(100)) > last

    async def test_closing_stores_what_was_accepted(self, make_journal):
        async with make_journal() as journal:
            journal.append_nowait(event(1))
        async with make_journal() as journal:
            assert numbers(await all_of(journal)) == [1]

    async def test_its_name_is_unknown_before_it_is_opened(self, make_journal):
        with pytest.raises(JournalError, match="not opened"):
            _ = make_journal().id

    # Reading

    async def test_after_is_behind_that_position(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(1, 2))
            second = (await all_of(journal))[1].position
            await journal.append(*events(3, 4))

            assert numbers(await all_of(journal, after=second)) == [3, 4]

    async def test_every_position_is_one_to_go_on_from(self, make_journal):
        async with make_journal() as journal:
            for start in range(0, 400, 40):
                await journal.append(*events(*range(start, start + 40)))
            entries = await all_of(journal)
            for index in range(0, 400, 37):
                rest = await all_of(journal, after=entries[index].position)
                assert numbers(rest) == list(range(index + 1, 400))

    async def test_a_reading_goes_on_live(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(1, 2))
            async with journal.cursor(after=0) as reading:
                assert numbers(await take(reading, 2)) == [1, 2]
                assert reading.caught_up
                waiting = asyncio.ensure_future(anext(reading))
                await asyncio.sleep(0)
                last = await journal.append(event(3))

                assert (await waiting).event.body["n"] == 3
                assert reading.position == last

    @pytest.mark.parametrize("seed", range(5))
    async def test_there_is_no_hole_and_no_double_whatever_the_timing(self, make_journal, seed):
        rng = random.Random(seed)

        async def write(journal):
            n = 0
            while n < 1500:
                count = min(rng.choice([1, 1, 3, 70, 300]), 1500 - n)
                await journal.append(*events(*range(n, n + count)))
                n += count

        async def read(journal, after):
            got = []
            async with journal.cursor(after=after) as reading:
                async for entry in reading:
                    got.append(entry.event.body["n"])
                    if rng.random() < 0.02:
                        await asyncio.sleep(0)
                    if got[-1] == 1499:
                        return got

        async with make_journal() as journal:
            consumers = [asyncio.ensure_future(read(journal, 0)) for _ in range(4)]
            await write(journal)
            late = await read(journal, 0)

            assert await asyncio.gather(*consumers) == [list(range(1500))] * 4
            assert late == list(range(1500))

    async def test_without_a_start_it_begins_with_what_is_stored_from_now_on(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1))
            reading = journal.cursor()
            await journal.append(event(2))

            assert numbers(await take(reading, 1)) == [2]
            await reading.aclose()

    async def test_a_reading_that_is_not_live_ends_with_what_is_there(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(1, 2))
            reading = journal.cursor(after=0, live=False)
            first = await anext(reading)
            await journal.append(event(3))

            assert numbers([first, *[entry async for entry in reading]]) == [1, 2]
            assert await all_of(journal, after=await journal.flush()) == []

    async def test_last_begins_with_the_newest_that_match(self, make_journal):
        async with make_journal() as journal:
            for n in range(0, 600, 20):
                await journal.append(event(n, "rare"), *events(*range(n + 1, n + 20)))

            assert numbers(await all_of(journal, last=3)) == [597, 598, 599]
            rare = edr.Binding(app_name="rare")
            assert numbers(await all_of(journal, rare, last=3)) == [540, 560, 580]
            assert len(await all_of(journal, rare, last=1000)) == 30
            assert await all_of(journal, last=0) == []

    async def test_since_begins_with_what_was_recorded_then(self, make_journal):
        async with make_journal() as journal:
            for n in range(5):
                await journal.append(event(n))
                await until_the_clock_moves()
            third = (await all_of(journal))[2].recorded_at

            assert numbers(await all_of(journal, since=third)) == [2, 3, 4]
            assert len(await all_of(journal, since=timedelta(hours=1))) == 5
            assert await all_of(journal, since=datetime.now(UTC) + timedelta(hours=1)) == []

    async def test_bindings_say_what_is_wanted(self, make_journal):
        bindings = [
            edr.Binding(app_name="b", severity="warning"),
            edr.Binding(account_id="root", include_descendants=True, verbosity="trace"),
            edr.Binding(app_name="c", body={"n": [{"numeric": [">", 100]}]}),
        ]
        rng = random.Random(1)
        given = [
            event(
                n,
                rng.choice("abc"),
                rng.choice(list(edr.Severity)),
                rng.choice(list(edr.Verbosity)),
                account_id=rng.choice([None, "x", "root"]),
                account_tree=(),
            )
            for n in range(300)
        ]
        given += [event(300, account_id="x", account_tree=("root",), verbosity="trace")]
        async with make_journal() as journal:
            for start in range(0, 301, 43):
                await journal.append(*given[start : start + 43])
            wanted = [each for each in given if any(b.matches(each) for b in bindings)]

            assert [entry.event for entry in await all_of(journal, *bindings, after=0)] == wanted
            assert 0 < len(wanted) < 300

    async def test_without_a_binding_every_entry_is_read(self, make_journal):
        given = [event(each.rank, verbosity=each) for each in edr.Verbosity]
        async with make_journal() as journal:
            await journal.append(*given)
            consumer = await journal.consumer("every", start="oldest")

            assert [entry.event for entry in await all_of(journal)] == given
            assert [entry.event for entry in await take(consumer, len(given))] == given

    async def test_its_position_moves_past_what_is_not_wanted(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1, "wanted"))
            last = await journal.append(*events(*range(10)))
            reading = journal.cursor(edr.Binding(app_name="wanted"), after=0, live=False)

            assert len([entry async for entry in reading]) == 1
            assert reading.position == last

    async def test_a_cancelled_call_has_taken_nothing(self, make_journal):
        async with make_journal() as journal, journal.cursor(after=0) as reading:
            got = []
            for n in range(20):
                waiting = asyncio.ensure_future(anext(reading))
                for _ in range(n % 4):
                    await asyncio.sleep(0)
                appending = asyncio.ensure_future(journal.append(event(n)))
                for _ in range(n % 7):
                    await asyncio.sleep(0)
                if not waiting.cancel():
                    got.append(waiting.result())
                await appending
            got += await take(reading, 20 - len(got))

        assert numbers(got) == list(range(20))

    async def test_two_tasks_cannot_ask_one_reading_at_once(self, make_journal):
        async with make_journal() as journal, journal.cursor(after=0) as reading:
            waiting = asyncio.ensure_future(anext(reading))
            await asyncio.sleep(0)
            with pytest.raises(JournalError):
                await anext(reading)
            await journal.append(event(1))
            await waiting

    async def test_a_reading_that_nobody_asks_holds_up_nobody(self, make_journal):
        async with make_journal() as journal:
            slow = journal.cursor(after=0)
            await journal.append(event(0))
            await anext(slow)
            for n in range(1, 3000, 100):
                await journal.append(*events(*range(n, n + 100)))

            assert numbers(await take(slow, 500)) == list(range(1, 501))
            await slow.aclose()

    async def test_a_position_that_was_never_given_is_refused(self, make_journal):
        async with make_journal() as journal:
            last = await journal.append(event(1))
            with pytest.raises(WrongJournalError) as caught:
                await all_of(journal, after=last + 10_000_000)

            assert (caught.value.position, caught.value.id) == (last + 10_000_000, journal.id)

    async def test_a_wrong_start_is_refused_at_once(self, make_journal):
        async with make_journal() as journal:
            for wrong in (
                {"after": 1, "last": 1},
                {"after": -1},
                {"last": -1},
                {"since": datetime(2024, 1, 1)},
                {"after": "1"},
            ):
                with pytest.raises(ValueError):
                    journal.cursor(**wrong)
            with pytest.raises(edr.InvalidBindingError):
                journal.cursor({"app_name": "a"})

    # Consumers

    async def test_what_was_acked_does_not_come_again(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(*range(10)))
            async with await journal.consumer("r") as consumer:
                for entry in await take(consumer, 4):
                    consumer.ack(entry)
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            assert numbers(await take(consumer, 6)) == list(range(4, 10))

    async def test_what_was_not_acked_comes_again_whatever_was_acked_behind_it(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(*range(10)))
            async with await journal.consumer("r") as consumer:
                for entry in await take(consumer, 8):
                    if entry.event.body["n"] not in {1, 4}:
                        consumer.ack(entry)
                await consumer.flush()
            async with await journal.consumer("r") as consumer:
                entries = await take(consumer, 4)

        assert numbers(entries) == [1, 4, 8, 9]
        assert [entry.delivery > 1 for entry in entries] == [True, True, False, False]

    async def test_a_nack_brings_it_again_and_others_meanwhile(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(*events(1, 2))
            first = await anext(consumer)
            consumer.nack(first, delay=0.05)
            second = await anext(consumer)
            again = await anext(consumer)

        assert numbers([first, second, again]) == [1, 2, 1]
        assert (first.delivery, again.delivery) == (1, 2)

    async def test_a_nacked_entry_can_be_acked_when_it_came_again(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1))
            async with await journal.consumer("r") as consumer:
                for _ in range(3):
                    entry = await anext(consumer)
                    consumer.nack(entry)
                entry = await anext(consumer)
                consumer.ack(entry)
                consumer.ack(entry)
            async with await journal.consumer("r") as consumer:
                await journal.append(event(2))
                assert numbers(await take(consumer, 1)) == [2]

        assert entry.delivery == 4

    async def test_it_holds_no_more_than_max_unacked(self, make_journal):
        async with (
            make_journal() as journal,
            await journal.consumer("r", max_unacked=3) as consumer,
        ):
            await journal.append(*events(*range(5)))
            held = await take(consumer, 3)
            waiting = asyncio.ensure_future(anext(consumer))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not waiting.done()
            consumer.ack(held[1])

            assert (await waiting).event.body["n"] == 3

    async def test_position_is_refused_where_an_entry_is_acked(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(event(1))
            entry = await anext(consumer)
            for call in (consumer.ack, consumer.nack):
                with pytest.raises(TypeError, match="must be the Entry that the consumer returned"):
                    call(entry.position)

    async def test_an_entry_of_another_journal_cannot_be_acked(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(event(1))
            entry = await anext(consumer)
            for wrong in (
                Entry(entry.position + 1, entry.recorded_at, entry.event),
                Entry(entry.position, entry.recorded_at, event(2)),
            ):
                with pytest.raises(JournalError):
                    consumer.ack(wrong)

    async def test_a_reader_is_open_once(self, make_journal):
        async with make_journal() as journal:
            async with await journal.consumer("r"):
                with pytest.raises(ConsumerInUseError) as caught:
                    await journal.consumer("r")
                with pytest.raises(ConsumerInUseError):
                    await journal.forget("r")
                assert caught.value.name == "r"
            async with await journal.consumer("r") as consumer:
                assert consumer.name == "r"

    async def test_a_new_reader_begins_where_it_is_told(self, make_journal):
        async with make_journal() as journal:
            third = await journal.append(*events(1, 2, 3))
            await journal.append(event(4))
            consumers = [
                await journal.consumer("a"),
                await journal.consumer("b", start="now"),
                await journal.consumer("c", start=third),
            ]
            await journal.append(event(5))

            assert [(await anext(each)).event.body["n"] for each in consumers] == [1, 5, 4]
            with pytest.raises(WrongJournalError):
                await journal.consumer("d", start=third + 10_000_000)

    async def test_other_bindings_must_be_meant(self, make_journal):
        warning, everything = edr.Binding(severity="warning"), edr.Binding(verbosity="trace")
        async with make_journal() as journal:
            await journal.append(event(1), event(2, severity="warning"))
            async with await journal.consumer("r", warning, everything):
                pass
            async with await journal.consumer("r", everything, warning):
                pass
            with pytest.raises(JournalError, match="other bindings"):
                await journal.consumer("r", warning)
            with pytest.raises(JournalError, match="other bindings"):
                await journal.consumer("r")
            async with await journal.consumer("r", warning, rebind=True) as consumer:
                assert numbers(await take(consumer, 1)) == [2]

    async def test_readers_tells_the_state_of_all(self, make_journal):
        async with make_journal() as journal:
            await journal.append(*events(*range(10)))
            async with await journal.consumer("b") as consumer:
                entries = await take(consumer, 4)
                consumer.ack(entries[0])
                consumer.ack(entries[1])
                await consumer.flush()
                async with await journal.consumer("a"):
                    pass
                a, b = await journal.consumers()

        assert (a.name, a.lag, a.unacked, a.open, a.last_ack) == ("a", 10, 0, False, None)
        assert (b.name, b.position, b.lag) == ("b", entries[1].position, 8)
        assert (b.unacked, b.missed, b.open) == (2, 0, True)
        assert datetime.now(UTC) - b.last_ack < timedelta(minutes=1)

    async def test_ack_of_what_is_no_entry_raises_at_once(self, make_journal):
        async with make_journal() as journal, await journal.consumer("r") as consumer:
            await journal.append(event(1))
            entry = await anext(consumer)
            for wrong in (entry.position, entry.event, edr.Gap(1), None):
                for call in (consumer.ack, consumer.nack):
                    with pytest.raises(TypeError, match="Entry"):
                        call(wrong)
            consumer.ack(entry)

    async def test_a_forgotten_reader_begins_anew(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1))
            async with await journal.consumer("r") as consumer:
                consumer.ack(await anext(consumer))
            await journal.forget("r")

            assert await journal.consumers() == ()
            with pytest.raises(JournalError):
                await journal.forget("r")
            async with await journal.consumer("r") as consumer:
                assert numbers(await take(consumer, 1)) == [1]

    async def test_a_wrong_name_is_refused(self, make_journal):
        async with make_journal() as journal:
            for wrong in ("", "a\nb", "x" * 129, 1):
                with pytest.raises(ValueError):
                    await journal.consumer(wrong)

    async def test_a_closed_reader_takes_no_acks_and_ends(self, make_journal):
        async with make_journal() as journal:
            await journal.append(event(1))
            async with await journal.consumer("r") as consumer:
                entry = await anext(consumer)
            with pytest.raises(JournalError):
                consumer.ack(entry)

            assert [each async for each in consumer] == []

    # Loss

    async def test_what_retention_took_is_told_and_reading_goes_on_at_the_oldest(
        self, make_journal
    ):
        async with make_journal(max_events=300) as journal:
            for n in range(0, 2000, 50):
                await journal.append(*events(*range(n, n + 50)))
            items = await all_of(journal, after=0)

        gap, *entries = items
        assert isinstance(gap, edr.Gap)
        assert gap.missed + len(entries) == 2000
        assert numbers(entries) == list(range(gap.missed, 2000))
        assert 300 <= len(entries) < 1000

    async def test_a_reader_is_told_what_it_lost_and_goes_on(self, make_journal):
        async with (
            make_journal(max_events=300) as journal,
            await journal.consumer("r") as consumer,
        ):
            await journal.append(*events(*range(50)))
            held = await take(consumer, 10)
            for n in range(50, 2000, 50):
                await journal.append(*events(*range(n, n + 50)))
            gap = await anext(consumer)
            rest = await take(consumer, 300)
            consumer.ack(held[0])
            (status,) = await journal.consumers()

        assert isinstance(gap, edr.Gap)
        assert numbers(rest) == list(range(rest[0].event.body["n"], rest[0].event.body["n"] + 300))
        assert gap.missed == rest[0].event.body["n"]
        assert status.missed == gap.missed

    async def test_a_closed_reader_is_told_later_what_it_lost(self, make_journal):
        async with make_journal(max_events=300) as journal:
            await journal.append(*events(*range(50)))
            async with await journal.consumer("r") as consumer:
                for entry in await take(consumer, 10):
                    consumer.ack(entry)
            for n in range(50, 2000, 50):
                await journal.append(*events(*range(n, n + 50)))
        async with (
            make_journal(max_events=300) as journal,
            await journal.consumer("r") as consumer,
        ):
            gap, entry = await take(consumer, 2)

        assert gap.missed == entry.event.body["n"] - 10

    # The end

    async def test_closing_ends_readings_and_refuses_what_comes_after(self, make_journal):
        journal = make_journal()
        await journal.append(event(1))
        live = journal.cursor(after=0)
        await anext(live)
        waiting = asyncio.ensure_future(anext(live))
        await asyncio.sleep(0)
        await journal.aclose()
        await journal.aclose()

        with pytest.raises(StopAsyncIteration):
            await waiting
        for call in (
            lambda: journal.append(event(2)),
            journal.flush,
            journal.consumers,
            journal.open,
            lambda: journal.consumer("r"),
        ):
            with pytest.raises(JournalError):
                await call()
        for call in (lambda: journal.append_nowait(event(2)), journal.cursor):
            with pytest.raises(JournalError):
                call()

    async def test_one_that_was_never_used_closes(self, make_journal):
        await make_journal().aclose()

    async def test_statistics_tell_what_it_holds(self, make_journal):
        async with make_journal() as journal:
            before = journal.statistics()
            await journal.append(*events(*range(10)))
            after = journal.statistics()
            entries = await all_of(journal)

        assert isinstance(after, JournalStatistics)
        assert (before.first, before.last, before.appended) == (0, 0, 0)
        assert (after.first, after.last) == (entries[0].position, entries[-1].position)
        assert (after.appended, after.waiting, after.failed, after.error) == (10, 0, 0, None)
        assert after.bytes > 0


class StorageContract:
    """A caller that waits for storage gets an error when an event was not stored."""

    async def test_append_names_each_refused_event(self, make_journal, make_refused):
        wrong = [make_refused(2), make_refused(4)]
        async with make_journal() as journal:
            with pytest.raises(EventsRefusedError) as caught:
                await journal.append(event(1), wrong[0], event(3), wrong[1], event(5))
            entries = await all_of(journal)

        assert [each.event for each in caught.value.refusals] == wrong
        assert all(each.reason for each in caught.value.refusals)
        assert caught.value.count == journal.statistics().failed == 2
        assert numbers(entries) == [1, 3, 5]

    async def test_refusal_concerns_no_other_append(self, make_journal, make_refused):
        async with make_journal() as journal:
            before, refused, after = await asyncio.gather(
                journal.append(event(1)),
                journal.append(make_refused(2)),
                journal.append(event(3)),
                return_exceptions=True,
            )
            assert [entry.position for entry in await all_of(journal)] == [before, after]

        assert isinstance(refused, EventsRefusedError)

    async def test_flush_reports_a_refused_event_once(self, make_journal, make_refused):
        wrong = make_refused(2)
        async with make_journal() as journal:
            for each in (event(1), wrong, event(3)):
                assert journal.append_nowait(each)
            with pytest.raises(EventsRefusedError) as caught:
                await journal.flush()
            assert await journal.flush() == (await all_of(journal))[-1].position

        assert [each.event for each in caught.value.refusals] == [wrong]

    async def test_flush_reports_an_event_that_the_bus_gave_up_once(self, make_journal):
        given_up = event(2)
        async with make_journal() as journal:
            assert journal.append_nowait(event(1))
            journal.report_refused(given_up, "it has no room")
            with pytest.raises(EventsRefusedError) as caught:
                await journal.flush()
            await journal.flush()

            assert caught.value.refusals == ((given_up, "it has no room"),)
            assert numbers(await all_of(journal)) == [1]

    async def test_flush_is_told_when_the_refusal_came_before(self, make_journal, make_refused):
        async with make_journal() as journal:
            journal.append_nowait(make_refused(1))
            await journal.append(event(2))
            assert journal.statistics().failed == 1

            with pytest.raises(EventsRefusedError):
                await journal.flush()

    async def test_flush_does_not_repeat_what_append_raised(self, make_journal, make_refused):
        async with make_journal() as journal:
            with pytest.raises(EventsRefusedError):
                await journal.append(make_refused(1))

            await journal.flush()

    async def test_every_flush_that_waits_is_told(self, make_journal, make_refused):
        async with make_journal() as journal:
            for each in (*events(*range(300)), make_refused(300)):  # more than are sent at once
                journal.append_nowait(each)
            results = await asyncio.gather(journal.flush(), journal.flush(), return_exceptions=True)

        assert [type(each) for each in results] == [EventsRefusedError] * 2

    async def test_flush_is_told_when_the_append_was_cancelled(self, make_journal, make_refused):
        async with make_journal() as journal:
            appending = asyncio.ensure_future(journal.append(make_refused(1)))
            await asyncio.sleep(0)
            appending.cancel()
            await asyncio.wait([appending])
            await journal.append(event(2))

            if journal.statistics().failed:  # it was accepted before it was cancelled
                with pytest.raises(EventsRefusedError):
                    await journal.flush()

    async def test_submit_returns_the_position(self, make_journal):
        async with make_journal() as journal:
            first, second = journal.submit(event(1)), journal.submit(event(2))

            positions = [await second, await first][::-1]
            assert [entry.position for entry in await all_of(journal)] == positions

    async def test_cancelled_submit_leaves_the_event_accepted(self, make_journal):
        async with make_journal() as journal:
            journal.submit(event(1)).cancel()
            await journal.flush()

            assert numbers(await all_of(journal)) == [1]

    async def test_durable_emit_raises_for_its_own_event(self, make_journal, make_refused):
        refused = make_refused(2)

        async def emit(bus, body):
            return await bus.emit("app", "1", "ok", "info", body, durable=True)

        async with edr.Bus(journal=make_journal()) as bus:
            results = await asyncio.gather(
                emit(bus, {"n": 1}),
                emit(bus, refused.body),
                emit(bus, {"n": 3}),
                return_exceptions=True,
            )
            assert bus.statistics().journal.failed == 1

        assert [results[0], results[2]] == [0, 0]
        assert isinstance(results[1], EventsRefusedError)
        assert [each.event.body for each in results[1].refusals] == [refused.body]

    async def test_publish_then_flush_raises_for_a_refused_event(self, make_journal, make_refused):
        journal = make_journal()
        async with edr.Bus(journal=journal) as bus:
            await bus.publish(event(1))
            await bus.publish(make_refused(2))
            with pytest.raises(EventsRefusedError):
                await journal.flush()

    async def test_refused_event_is_logged_with_its_reason(
        self, make_journal, make_refused, caplog
    ):
        async with make_journal() as journal:
            with pytest.raises(EventsRefusedError) as caught:
                await journal.append(make_refused(1))

        (refusal,) = caught.value.refusals
        (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        assert refusal.event.id in line
        assert refusal.reason in line


async def until_the_clock_moves():
    now = datetime.now(UTC)
    while datetime.now(UTC) <= now:
        await asyncio.sleep(0)
