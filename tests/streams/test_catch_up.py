"""A client reads the journal up to the end of the window, and then continues there."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.shuffled_loop import run

from edr import Binding, Event, Gap
from edr.bus import RateLimitedLog
from edr.journal import Entry, JournalError
from edr.streams import Grant
from edr.streams.catch_up import MAX_BYTES, CatchUp, Removed
from edr.streams.group import Group
from edr.streams.view import View
from edr.streams.window import Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(n, **body):
    body = {"n": n, **body}
    return Event(app_name="app", app_version="1", severity="ok", verbosity="info", body=body)


class Cursor:
    """Reads a list of items; ``position`` is as that of a cursor of a journal."""

    def __init__(self, journal, after):
        self.journal, self.position = journal, after

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def take(self, limit):
        await asyncio.sleep(0)
        self.journal.reads += 1
        if self.journal.faults:
            raise self.journal.faults.pop()
        later = [item for item in self.journal.items if item[0] > self.position][:limit]
        if later:
            self.position = later[-1][0]
        self.journal.on_read()
        return [item for _, item in later]


class Journal:
    def __init__(self, items, faults=()):
        self.items = [
            (n, item if isinstance(item, Gap) else Entry(n, NOW, item)) for n, item in items
        ]
        self.faults, self.reads, self.on_read = list(faults), 0, lambda: None

    def cursor(self, *_bindings, after, live):
        assert not live
        return Cursor(self, after)


def a_group(window, grant=None):
    view = View((Binding.everything(),), grant or Grant.everything())
    return Group(view, window, is_complete=True, log=RateLimitedLog())


def caught_up(journal, *, after=0, first=3, newest=5, log_from=0, change=None):
    """Return the items of a client that begins ``after``, and the index where it continues."""

    async def scenario():
        window = Window(3, 2**20, is_dense=False)
        group = a_group(window)
        group.log_from = log_from
        for n in range(first, newest + 1):
            slot = window.append(event(n), n)
            if n >= log_from:
                group.receive(slot)
        if change is not None:
            journal.on_read = lambda: change(group)
        seen = []
        older = CatchUp(
            journal, asyncio.Semaphore(4), group, after, on_items=print, log=RateLimitedLog()
        )
        while older.index is None or older.items:
            await asyncio.sleep(0.01)
            seen += older.items
            older.items.clear()
            older.all_taken()
        older.close()
        found = [item if isinstance(item, Removed) else item.event.body["n"] for item in seen]
        at = older.index - group.log.origin
        return found, [slot.event.body["n"] for slot in group.log.entries[at:] if slot.event]

    return run(scenario)


def numbered(*ns):
    return [(n, event(n)) for n in ns]


def test_journal_is_read_up_to_the_end_of_the_window():
    assert caught_up(Journal(numbered(*range(1, 11)))) == ([1, 2, 3, 4, 5], [])


def test_stored_event_shows_no_account_above_the_grant():
    async def scenario():
        stored = event(1).model_copy(update={"account_id": "c", "account_tree": ("a", "b")})
        group = a_group(Window(3, 2**20, is_dense=False), Grant("b"))
        group.window.append(event(2), 2)
        older = CatchUp(
            Journal([(1, stored), (2, event(2))]),
            asyncio.Semaphore(4),
            group,
            0,
            on_items=print,
            log=RateLimitedLog(),
        )
        await asyncio.sleep(0.01)
        older.close()
        return [(record.event.account_tree, record.event.body["n"]) for record in older.items]

    assert run(scenario) == [(("b",), 1)]


def test_client_continues_in_the_window_as_soon_as_it_has_the_rest():
    assert caught_up(Journal(numbered(1, 2))) == ([1, 2], [3, 4, 5])
    assert caught_up(Journal([]), after=2) == ([], [3, 4, 5])


def test_client_reads_the_journal_up_to_the_start_of_the_log():
    def store_the_rest(_):
        journal.items = Journal(numbered(1, 2, 3, 4)).items

    journal = Journal(numbered(1, 2))

    assert caught_up(journal, log_from=5, change=store_the_rest) == ([1, 2, 3, 4], [5])


def test_window_that_moves_on_during_a_read_is_noticed():
    def change(group):
        if journal.reads == 1:
            for n in range(6, 10):
                group.receive(group.window.append(event(n), n))

    journal = Journal(numbered(1, 2))
    first_read = len(journal.items)
    journal.items += [(n, Entry(n, NOW, event(n))) for n in range(3, 10)]
    full = journal.items
    journal.items = full[:first_read]

    def change_and_store(group):
        change(group)
        journal.items = full

    seen, rest = caught_up(journal, change=change_and_store)
    assert seen + rest == [*range(1, 10)]


def test_removed_entries_are_passed_on():
    journal = Journal([(1, Gap(7)), *numbered(2)])

    assert caught_up(journal) == ([Removed(7), 2], [3, 4, 5])


def test_large_entries_are_read_in_parts():
    large = [(n, event(n, text="x" * (MAX_BYTES // 2))) for n in range(1, 8)]
    journal = Journal(large)

    assert caught_up(journal, first=8, newest=9) == ([*range(1, 8)], [8, 9])
    assert journal.reads == 4  # two entries each, then the last one


@pytest.mark.parametrize("faults", [1, 3])
def test_read_is_repeated_after_an_error(faults, caplog):
    journal = Journal(numbered(1, 2), [JournalError("no disk")] * faults)

    assert caught_up(journal) == ([1, 2], [3, 4, 5])
    assert "a client of a stream could not read the journal: no disk" in caplog.text


def test_closed_catch_up_ends():
    async def scenario():
        journal = Journal(numbered(1))
        older = CatchUp(
            journal,
            asyncio.Semaphore(0),
            a_group(Window(3, 100, is_dense=False)),
            0,
            on_items=print,
            log=RateLimitedLog(),
        )
        await asyncio.sleep(1)
        older.close()
        await asyncio.sleep(1)
        return journal.reads, len(asyncio.all_tasks())

    assert run(scenario) == (0, 1)
