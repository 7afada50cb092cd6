import asyncio
from typing import NamedTuple

import pytest

import edr
from edr.errors import EventsRefusedError, Refusal
from edr.records import EVERY_EVENT, trie_keys


class Counts(NamedTuple):
    failed: int
    error: str | None


class FakeJournal:
    """Keeps events in a list; ``size`` is how many it takes before it wants to be flushed."""

    def __init__(self, *bindings, size=1000):
        self.bindings = bindings or (edr.Binding(),)
        self.size = size
        self.error = None
        self.accepted = []
        self.stored = []
        self.said = []
        self.given_up = []
        self.may_store = asyncio.Event()
        self.may_store.set()

    def set_bindings(self, bindings):
        self.bindings = bindings

    async def open(self):
        self.said.append("open")

    def append_nowait(self, event):
        if self.error or len(self.accepted) >= self.size:
            return False
        self.accepted.append(event)
        return True

    def submit(self, event):
        return asyncio.ensure_future(self.flush()) if self.append_nowait(event) else None

    async def append(self, *events):
        if self.error:
            raise OSError(self.error)
        self.accepted += events
        return await self.flush()

    async def room(self):
        while len(self.accepted) >= self.size and not self.error:
            await self.flush()

    async def flush(self):
        if self.error:
            raise OSError(self.error)
        await self.may_store.wait()
        self.stored += self.accepted
        self.accepted.clear()
        return len(self.stored)

    def report_refused(self, event, _reason):
        self.given_up.append(event.body["n"])

    def statistics(self):
        return Counts(0, self.error)

    async def drain(self, timeout=None):
        return 0

    async def aclose(self):
        self.stored += self.accepted
        self.accepted.clear()
        self.said.append("close")

    @property
    def numbers(self):
        return [event.body["n"] for event in [*self.stored, *self.accepted]]


async def emit(bus, n, **options):
    return await bus.emit("app", "1", "ok", options.pop("verbosity", "info"), {"n": n}, **options)


async def test_the_journal_gets_what_its_bindings_want_in_the_order_of_the_emits():
    journal = FakeJournal(edr.Binding(app_name="app"))
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        assert await emit(bus, 1) == 1
        assert bus.emit_nowait("app", "1", "ok", "info", {"n": 2}) == 1
        await bus.emit("other", "1", "ok", "info", {"n": 0})
        await bus.publish(await anext(subscription))
        await asyncio.to_thread(
            lambda: bus.emit_threadsafe("app", "1", "ok", "info", {"n": 3}).result()
        )
        await subscription.aclose()

    assert journal.numbers == [1, 2, 1, 3]
    assert journal.said[:2] == ["open", "close"]


async def test_it_is_nobodys_interest_and_no_subscription():
    async with edr.Bus(journal=FakeJournal()) as bus:
        assert await emit(bus, 1) == 0
        assert bus.statistics().subscriptions == 0
        assert bus.statistics().offered == 0


async def test_a_durable_emit_returns_when_it_is_stored():
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        journal.may_store.clear()
        emitting = asyncio.ensure_future(emit(bus, 1, durable=True))
        event = await anext(subscription)
        await asyncio.sleep(0)
        assert not emitting.done()
        journal.may_store.set()

        assert await emitting == 1
        assert journal.stored == [event]
        await subscription.aclose()


async def test_a_durable_emit_is_stored_whatever_the_journals_bindings():
    journal = FakeJournal(edr.Binding(severity="critical"))
    async with edr.Bus(journal=journal) as bus:
        await emit(bus, 1, durable=True, verbosity="trace")
        await emit(bus, 2)

    assert journal.numbers == [1]


async def test_a_durable_bus_waits_unless_it_is_told_not_to():
    journal = FakeJournal()
    async with edr.Bus(journal=journal, durable=True) as bus:
        await emit(bus, 1)
        assert len(journal.stored) == 1
        await emit(bus, 2, durable=False)
        assert len(journal.stored) == 1


async def test_a_durable_emitter_waits():
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus:
        emitter = edr.Emitter("app", "1", bus=bus, durable=True)
        await emitter.with_fields("acme", m=1).emit("ok", "info", {"n": 1})

        assert journal.stored[0].body == {"n": 1, "m": 1}
        assert journal.stored[0].account_id == "acme"


async def test_a_durable_emit_knows_the_accounts_above():
    tree = edr.AccountTree({"a": "root"})
    journal = FakeJournal()
    async with edr.Bus(journal=journal, accounts=tree) as bus:
        await emit(bus, 1, durable=True, account_id="a")
        await emit(bus, 2, durable=True, account_id="a")

    assert [event.account_tree for event in journal.stored] == [("root",), ("root",)]


async def test_a_durable_emit_needs_a_journal(bus):
    with pytest.raises(ValueError, match="journal"):
        await emit(bus, 1, durable=True)
    with pytest.raises(ValueError, match="journal"):
        edr.Bus(durable=True)
    assert bus.statistics().emits == 0


@pytest.mark.parametrize("journal", ["events.journal", FakeJournal, 5])
async def test_what_is_no_journal_is_refused_in_words(journal):
    with pytest.raises(TypeError, match="journal must be a journal, such as edr.journal"):
        edr.Bus(journal=journal)


async def test_an_invalid_durable_emit_reaches_nobody():
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus:
        with pytest.raises(edr.InvalidEventError):
            await bus.emit("app", "1", "ok", "info", {"n": object()}, durable=True)

    assert journal.numbers == []


async def test_emits_wait_for_a_journal_that_is_full_and_keep_their_order():
    journal = FakeJournal(size=2)
    async with edr.Bus(journal=journal) as bus:
        await emit(bus, 0)
        await emit(bus, 1)
        journal.may_store.clear()
        emits = [asyncio.ensure_future(emit(bus, n)) for n in (2, 3)]
        emits.append(asyncio.ensure_future(emit(bus, 4, durable=True)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(each.done() for each in emits)
        journal.may_store.set()
        await asyncio.gather(*emits)

    assert journal.numbers == [0, 1, 2, 3, 4]
    assert bus.statistics().journal.failed == 0


async def test_who_cannot_wait_is_refused_and_counted():
    journal = FakeJournal(size=1)
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        for n in range(3):
            bus.emit_nowait("app", "1", "ok", "info", {"n": n})

        assert bus.statistics().journal.failed == 2
        assert subscription.statistics().offered == 3
        await subscription.aclose()


async def test_a_journal_that_fails_holds_up_no_plain_emit_and_tells_durable_ones():
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        journal.error = "broken"
        assert await emit(bus, 1) == 1
        with pytest.raises(OSError, match="broken"):
            await emit(bus, 2, durable=True)
        assert [(await anext(subscription)).body["n"] for _ in range(2)] == [1, 2]
        assert bus.statistics().journal.failed == 2
        journal.error = None
        await emit(bus, 3, durable=True)
        await subscription.aclose()

    assert journal.numbers == [3]


async def test_a_journal_that_raises_costs_no_plain_emit_and_tells_durable_ones(caplog):
    class Closed(FakeJournal):
        def append_nowait(self, event):
            raise edr.EdrError("it was closed")

        submit = append_nowait

        async def append(self, *events):
            raise edr.EdrError("it was closed")

    async with edr.Bus(journal=Closed()) as bus:
        subscription = bus.subscribe()
        assert await emit(bus, 1) == 1
        assert bus.emit_nowait("app", "1", "ok", "info", {"n": 2}) == 1
        with pytest.raises(edr.EdrError, match="it was closed"):
            await emit(bus, 3, durable=True)

        assert [event.body["n"] for event in subscription.take()] == [1, 2, 3]
        assert bus.statistics().journal.failed == 3
        assert "which reached subscribers only: it was closed" in caplog.text


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_durable_emit_leaves_the_counts_true(turns):
    journal = FakeJournal(size=1)
    async with edr.Bus(journal=journal) as bus:
        subscription = bus.subscribe()
        await emit(bus, 1)
        journal.may_store.clear()
        emitting = asyncio.ensure_future(emit(bus, 2, durable=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        emitting.cancel()
        await asyncio.wait({emitting})
        journal.may_store.set()
        await emit(bus, 3, durable=True)
        statistics = subscription.statistics()

        assert statistics.offered == statistics.pending == journal_count(journal, bus)
        await subscription.aclose()


def journal_count(journal, bus):
    return len(journal.numbers) + bus.statistics().journal.failed


async def test_without_a_journal_there_is_nothing_of_it(bus):
    assert bus.statistics().journal is None


@pytest.mark.parametrize("is_durable", [True, False])
async def test_event_that_the_journal_refuses_holds_up_no_other_in_line(is_durable):
    class Choosy(FakeJournal):
        def append_nowait(self, event):
            if len(self.accepted) < self.size and event.body["n"] == 2:
                raise edr.EdrError("too large")
            return super().append_nowait(event)

        async def append(self, *events):
            raise edr.EdrError("too large")

    journal = Choosy(size=1)
    async with edr.Bus(journal=journal) as bus:
        await emit(bus, 0)
        journal.may_store.clear()
        emits = [asyncio.ensure_future(emit(bus, n, durable=is_durable)) for n in (1, 2, 3)]
        for _ in range(5):
            await asyncio.sleep(0)
        journal.may_store.set()
        results = await asyncio.gather(*emits, return_exceptions=True)
        failed = bus.statistics().journal.failed

    assert journal.numbers == [0, 1, 3]
    assert failed == 1
    assert [str(each) for each in results] == ["0", "too large" if is_durable else "0", "0"]


async def test_emits_that_wait_for_room_are_released_when_room_raises(caplog):
    class Gone(FakeJournal):
        async def room(self):
            raise edr.EdrError("it is gone")

    async with edr.Bus(journal=Gone(size=0)) as bus:
        assert await emit(bus, 1) == 0
        assert bus.statistics().journal.failed == 1

    assert "subscribers only: it is gone" in caplog.text


async def test_refused_event_is_logged_with_its_id_and_the_reason(caplog):
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus, bus.subscribe() as subscription:
        journal.error = "the disk is full"
        bus.emit_nowait("app", "1", "ok", "info", {"n": 1})
        (event,) = subscription.take()
        journal.error = None

    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert event.id in line
    assert line.endswith("the disk is full")


async def test_each_event_that_a_plain_emit_gives_up_is_reported_to_the_journal():
    journal = FakeJournal(size=1)
    async with edr.Bus(journal=journal) as bus:
        await emit(bus, 1)
        bus.emit_nowait("app", "1", "ok", "info", {"n": 2})
        journal.error = "the disk is full"
        await emit(bus, 3)
        with pytest.raises(OSError, match="the disk is full"):
            await emit(bus, 4, durable=True)
        journal.error = None

    assert journal.given_up == [2, 3]


async def test_journal_that_cannot_report_fails_no_emit(caplog):
    class Broken(FakeJournal):
        def report_refused(self, event, reason):
            raise OSError("broken")

    async with edr.Bus(journal=Broken(size=0)) as bus:
        assert bus.emit_nowait("app", "1", "ok", "info", {"n": 1})

    assert "the journal failed: OSError('broken')" in caplog.text


# record


WARNINGS = edr.Binding(severity="warning")


async def test_record_changes_what_the_journal_stores_from_now_on():
    journal = FakeJournal(WARNINGS)
    async with edr.Bus(journal=journal) as bus:
        await emit(bus, 1)
        bus.record(edr.Binding(app_name="app"), WARNINGS)
        await emit(bus, 2)
        bus.record(edr.Binding(app_name="other"))
        await emit(bus, 3)

        assert journal.numbers == [2]
        assert bus.journal.bindings == (edr.Binding(app_name="other"),)


async def test_record_without_a_binding_stores_every_event():
    journal = FakeJournal(WARNINGS)
    bus = edr.Bus(journal=journal)
    bus.record()  # before a loop uses the bus
    async with bus:
        await emit(bus, 1, verbosity="trace")

    assert journal.numbers == [1]
    assert journal.bindings == (EVERY_EVENT,)


async def test_recorded_bindings_count_as_interest_only_if_wanted():
    async with edr.Bus(journal=FakeJournal(WARNINGS)) as bus:
        watch = bus.watch_interest(lambda _key, _wanted: None)
        assert watch.keys == ()
        bus.record(WARNINGS, wanted=True)
        assert watch.keys == trie_keys(WARNINGS)
        bus.record(WARNINGS)
        assert watch.keys == ()
        watch.close()


async def test_refused_record_changes_nothing(bus):
    with pytest.raises(ValueError, match="record needs a journal"):
        bus.record()
    async with edr.Bus(journal=FakeJournal(WARNINGS)) as other:
        with pytest.raises(edr.InvalidBindingError):
            other.record(WARNINGS, "app")
        assert other.journal.bindings == (WARNINGS,)
    with pytest.raises(edr.BusClosedError):
        other.record()


async def test_event_that_waits_for_room_is_stored_though_record_narrows_the_bindings():
    journal = FakeJournal(size=1)
    async with edr.Bus(journal=journal) as bus:
        journal.may_store.clear()
        await emit(bus, 1)
        emitting = asyncio.ensure_future(emit(bus, 2))
        await asyncio.sleep(0)
        bus.record(WARNINGS)
        journal.may_store.set()
        await emitting
        await emit(bus, 3)

    assert journal.numbers == [1, 2]


# publish_all


def events_of(*numbers):
    return [
        edr.Event(app_name="app", app_version="1", severity="ok", verbosity="info", body={"n": n})
        for n in numbers
    ]


class Refusing(FakeJournal):
    """Refuses the events with these numbers permanently, when it stores."""

    def __init__(self, *numbers, **options):
        super().__init__(**options)
        self.refuses = numbers
        self.commits = 0
        self.receipts = []
        self._committing = None

    def submit(self, event):
        if not self.append_nowait(event):
            return None
        if self._committing is None or self._committing.done():
            self._committing = asyncio.ensure_future(self.commit())
        self.receipts.append(asyncio.ensure_future(self.outcome(event)))
        return self.receipts[-1]

    async def commit(self):
        await self.flush()
        self.commits += 1

    async def outcome(self, event):
        await asyncio.shield(self._committing)
        if event.body["n"] in self.refuses:
            raise EventsRefusedError([Refusal(event, f"no {event.body['n']}")])
        return 1


async def test_durable_publish_all_returns_after_one_commit_of_all():
    journal = Refusing()
    async with edr.Bus(journal=journal) as bus, bus.subscribe() as subscription:
        journal.may_store.clear()
        events = events_of(1, 2, 3)
        publishing = asyncio.create_task(bus.publish_all(events, durable=True))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not publishing.done()
        assert subscription.take() == events
        journal.may_store.set()

        assert await publishing == 3
        assert (journal.stored, journal.commits) == (events, 1)


async def test_subscription_made_during_durable_publish_all_gets_none():
    journal = Refusing()
    async with edr.Bus(journal=journal) as bus:
        events = events_of(*range(600))
        publishing = asyncio.create_task(bus.publish_all(events, durable=True))
        await asyncio.sleep(0)  # it yields to other tasks after some of them
        late = bus.subscribe()
        await publishing

        assert late.take() == []
        assert journal.stored == events


async def test_durable_publish_all_names_each_refused_event():
    journal = Refusing(2, 4)
    async with edr.Bus(journal=journal) as bus, bus.subscribe() as subscription:
        events = events_of(1, 2, 3, 4)
        with pytest.raises(EventsRefusedError) as caught:
            await bus.publish_all(events, durable=True)

        assert caught.value.refusals == ((events[1], "no 2"), (events[3], "no 4"))
        assert caught.value.count == 2
        assert subscription.take() == events


async def test_durable_publish_all_names_every_refused_event_of_many():
    async with edr.Bus(journal=Refusing(*range(100))) as bus:
        events = events_of(*range(100))
        with pytest.raises(EventsRefusedError) as caught:
            await bus.publish_all(events, durable=True)

        assert [each.event for each in caught.value.refusals] == events


async def test_durable_publish_all_waits_for_room_in_order():
    journal = Refusing(size=2)
    async with edr.Bus(journal=journal) as bus:
        await bus.publish_all(events_of(*range(7)), durable=True)

        assert journal.numbers == list(range(7))


async def test_durable_publish_all_tells_that_the_journal_cannot_store():
    journal = FakeJournal()
    async with edr.Bus(journal=journal) as bus:
        journal.error = "broken"
        with pytest.raises(OSError, match="broken"):
            await bus.publish_all(events_of(1, 2), durable=True)
        journal.error = None


async def test_fault_of_the_journal_has_a_note_with_the_refused_events():
    class Failing(Refusing):
        async def outcome(self, event):
            await super().outcome(event)
            raise OSError("broken")

    async with edr.Bus(journal=Failing(1)) as bus:
        with pytest.raises(OSError, match="broken") as caught:
            await bus.publish_all(events_of(1, 2), durable=True)

        assert "no 1" in caught.value.__notes__[0]


@pytest.mark.parametrize("turns", range(1, 5))
async def test_cancelled_durable_publish_all_waits_for_no_storage(turns):
    journal = Refusing()
    async with edr.Bus(journal=journal) as bus:
        journal.may_store.clear()
        publishing = asyncio.create_task(bus.publish_all(events_of(1, 2, 3), durable=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        publishing.cancel()
        await asyncio.wait({publishing})
        for _ in range(3):
            await asyncio.sleep(0)
        assert publishing.cancelled()
        assert [receipt.cancelled() for receipt in journal.receipts] == [True] * 3
        journal.may_store.set()

    assert journal.numbers == [1, 2, 3]


async def test_durable_publish_all_without_a_journal_publishes_nothing(bus):
    with pytest.raises(ValueError, match="needs a journal"):
        await bus.publish_all(events_of(1), durable=True)

    assert bus.statistics().emits == 0


class Grouping(Refusing):
    """Accepts several events at once, as ``SqliteJournal`` does."""

    def __init__(self, *numbers, **options):
        super().__init__(*numbers, **options)
        self.groups = []

    def submit_all(self, events):
        if self.error:
            raise OSError(self.error)
        if len(self.accepted) + len(events) > self.size:
            return None
        self.groups.append(len(events))
        return asyncio.ensure_future(self.outcomes([self.submit(each) for each in events]))

    async def outcomes(self, receipts):
        results = await asyncio.gather(*receipts, return_exceptions=True)
        if refused := [each for each in results if isinstance(each, EventsRefusedError)]:
            raise EventsRefusedError([each.refusals[0] for each in refused])
        return 1


async def test_events_for_the_journal_alone_are_given_in_groups():
    journal = Grouping(3, 60)
    async with edr.Bus(journal=journal) as bus:
        events = events_of(*range(100))
        with pytest.raises(EventsRefusedError) as caught:
            await bus.publish_all(events, durable=True)

    assert journal.numbers == list(range(100))
    assert journal.groups == [32, 32, 32, 4]
    assert [each.event for each in caught.value.refusals] == [events[3], events[60]]


async def test_groups_keep_the_order_of_events_that_a_subscription_receives():
    journal = Grouping()
    async with edr.Bus(journal=journal) as bus, bus.subscribe(body={"n": [5]}) as subscription:
        await bus.publish_all(events_of(*range(10)), durable=True)
        assert [each.body["n"] for each in subscription.take()] == [5]

    assert journal.numbers == list(range(10))
    assert journal.groups == [5, 4]


async def test_group_without_room_waits_in_order():
    journal = Grouping(size=2)
    async with edr.Bus(journal=journal) as bus:
        await bus.publish_all(events_of(*range(7)), durable=True)

    assert journal.numbers == list(range(7))
    assert journal.groups == []


async def test_group_tells_that_the_journal_cannot_store():
    journal = Grouping()
    async with edr.Bus(journal=journal) as bus:
        journal.error = "broken"
        with pytest.raises(OSError, match="broken"):
            await bus.publish_all(events_of(1, 2), durable=True)
        journal.error = None
