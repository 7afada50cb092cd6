"""Damage to a journal's file, one bit or one page at a time.

The quick tests take a seeded choice of the places, the slow ones every third of all.
"""

import random
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from contracts.journal import event, events
from journal.conftest import entries_of, everything

import edr
from edr.journal import SqliteJournal
from edr.journal.fetching import Lost
from edr.journal.retention import Limits
from edr.journal.schema import PAGE, ConsumerState
from edr.journal.store import BlockStore

BLOCKS, SIZE = 12, 20
COLUMNS = 80
"""Bytes of a block before its keys and entries, which one checksum covers: SQLite reads them."""
RARE = edr.Binding(app_name="rare")
READERS = [
    ConsumerState("first", "[]", 60, unacked=((30, 2), (41, 1)), missed=3, last_ack=7),
    ConsumerState("second", "[]", 100),
]


class Filled:
    """A closed journal, its entries, and where in its file the parts are."""

    def __init__(self, path):
        store = BlockStore(
            path, Limits(), full_sync=False, now=lambda: 1_700_000_000_000_000, report=print
        )
        store.open()
        for n in range(0, BLOCKS * SIZE, SIZE):
            app = "rare" if n % (3 * SIZE) == 0 else "app"
            # The same bytes each time, so that the same bits are flipped.
            fields = {"app_name": app, "timestamp": datetime(2026, 1, 1, tzinfo=UTC)}
            store.append([event(k, id=f"{k:032}", **fields) for k in range(n, n + SIZE)])
        for state in READERS:
            store.make_consumer(state)
        rows = store._connection.execute("SELECT keys, rows FROM blocks ORDER BY first").fetchall()
        metadata = store._final_metadata().to_bytes()
        self.entries = entries_of(store)
        store.close()
        self.path = path
        self.data = (path / "journal.sqlite3").read_bytes()
        self.blocks = [self._around(*row) for row in rows]
        self.metadata = self._around(b"", metadata)
        self.consumers = [self._around(b"", state.to_bytes()) for state in READERS]
        self.page_headers = [
            range(start, start + 8 + 2 * int.from_bytes(self.data[start + 3 : start + 5], "big"))
            for start in range(PAGE, len(self.data), PAGE)
            if self.data[start] == 0x0D
        ]

    def _around(self, keys, rest):
        """Return where a row is: from its length, before its columns, to its last byte."""
        at = self.data.rindex(keys + rest)
        return range(at - (COLUMNS if keys else 9), at + len(keys + rest))

    def damaged(self, path, change):
        """Copy the journal to ``path``, changed."""
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.path, path)
        data = bytearray(self.data)
        change(data)
        (path / "journal.sqlite3").write_bytes(data)
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in memory, if there is one: thousands of journals are opened, which sync."""
    memory = Path("/dev/shm")  # noqa: S108 - in which it makes a folder of its own
    if not memory.is_dir():
        yield tmp_path_factory.mktemp("damage")
    else:
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            yield Path(folder)


@pytest.fixture(scope="module")
def filled(place):
    return Filled(place / "filled")


def flips_in(*places, header=None):
    """Return all bits of ``places``; with ``header``, one bit of each byte after so many bytes."""
    bits = []
    for place in places:
        bits += [(byte, bit) for byte in place[:header] for bit in range(8)]
        bits += [(byte, byte % 8) for byte in place[len(place[:header]) :]]
    return bits


def check(filled, path, most_lost, *, is_exact=True):
    """Open what is at ``path``, and hold what it gives against what was stored."""
    store = BlockStore(path, Limits(), full_sync=False, now=lambda: 1, report=lambda text: None)
    store.open()
    try:
        # Who wants little passes over most blocks, and is told of damage in those, too.
        rare = entries_of(store, RARE)
        got = entries_of(store)
        lost = BLOCKS * SIZE - sum(not isinstance(each, Lost) for each in got)
        assert lost <= most_lost
        position = 0
        for each in got:
            if isinstance(each, Lost):
                assert each.missed == each.position - position
            else:
                assert each == filled.entries[each.position - 1]
                assert each.position == position + 1
            position = each.position
        told = sum(each.missed for each in got if isinstance(each, Lost))
        assert told == lost if is_exact else told >= lost
        assert [each for each in rare if not isinstance(each, Lost)] == [
            each for each in got if not isinstance(each, Lost) and each.event.app_name == "rare"
        ]
        consumers = [store.consumers.get(state.name) for state in READERS]
        for consumer, state in zip(consumers, READERS, strict=True):
            assert consumer in (None, state) or consumer.missed > state.missed
        assert store.append(events(-1)).first > BLOCKS * SIZE
        assert everything(store)[-1] == -1
        return lost, consumers.count(None), store
    finally:
        store.close()


def flip(filled, path, byte, bit):
    def change(data):
        data[byte] ^= 1 << bit

    return filled.damaged(path, change)


@pytest.fixture(params=["some", pytest.param("third", marks=pytest.mark.slow)])
def choose(request):
    """Choose some of the places, or every third of all, so two or three bits of a header's byte."""
    if request.param == "third":
        return lambda places: list(places)[::3]
    return lambda places: random.Random(request.node.name).sample(places, 20)


@pytest.mark.timeout(120)
def test_flipped_bit_in_a_block_costs_that_block_at_most(filled, place, choose):
    lost = 0
    for byte, bit in choose(flips_in(filled.blocks[5], header=COLUMNS)):
        lost += check(filled, flip(filled, place / "j", byte, bit), SIZE)[0] > 0
    assert lost


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.timeout(120)
def test_flipped_bit_in_a_block_at_the_end_is_told(filled, place, choose, which):
    for byte, bit in choose(flips_in(filled.blocks[which], header=COLUMNS)):
        check(filled, flip(filled, place / "j", byte, bit), SIZE)


def test_flipped_bit_in_the_facts_loses_nothing(filled, place, choose):
    for byte, bit in choose(flips_in(filled.metadata)):
        assert check(filled, flip(filled, place / "j", byte, bit), 0)[:2] == (0, 0)


def test_flipped_bit_in_a_reader_loses_its_place_at_most(filled, place, choose):
    for byte, bit in choose(flips_in(*filled.consumers)):
        lost, consumers, _store = check(filled, flip(filled, place / "j", byte, bit), 0)
        assert (lost, consumers) in ((0, 0), (0, 1))


@pytest.mark.timeout(120)
def test_flipped_bit_in_a_page_header_is_told(filled, place, choose):
    for byte, bit in choose(flips_in(*filled.page_headers)):
        check(filled, flip(filled, place / "j", byte, bit), BLOCKS * SIZE)


def test_blank_page_is_salvaged_at_the_first_opening(filled, place):
    for start in range(0, len(filled.data), PAGE):

        def change(data, start=start):
            data[start : start + PAGE] = bytes(PAGE)

        path = filled.damaged(place / "j", change)
        # With the metadata it is lost how far the positions went: then one more may be told.
        is_exact = filled.metadata[0] // PAGE != start // PAGE
        check(filled, path, BLOCKS * SIZE, is_exact=is_exact)


def test_retention_salvages_a_damaged_header(filled, place):
    path = filled.damaged(place / "j", lambda data: None)
    store = BlockStore(
        path, Limits(max_events=30), full_sync=False, now=lambda: 1, report=lambda _: 0
    )
    store.open()
    store._connection.execute("UPDATE blocks SET last = last + (1 << 40) WHERE first = 21")
    store.append(events(-1))

    assert store.corrupt == SIZE
    assert everything(store)[-1] == -1
    store.close()


def test_salvage_tells_who_stands_in_the_lost_range(filled, place):
    def change(data):
        for block in filled.blocks[4:8]:  # positions 81 to 160
            data[block.stop - 5] ^= 1
        data[filled.consumers[0].stop - 2] ^= 1  # damage that is salvaged at the opening

    store = BlockStore(
        filled.damaged(place / "j", change), Limits(), full_sync=False, now=lambda: 1, report=print
    )
    store.open()
    for after in (0, 80, 100, 159):
        gap = next(each for each in entries_of(store, after=after) if isinstance(each, Lost))
        assert (gap.position, gap.missed) == (160, 160 - max(after, 80))
    assert [each for each in entries_of(store, after=160) if isinstance(each, Lost)] == []
    assert store.lag(100) == BLOCKS * SIZE - 160
    assert store.corrupt == 80
    store.close()


async def test_a_consumer_that_is_opened_after_a_salvage_counts_its_loss_once(filled, place):
    def change(data):
        for block in filled.blocks[:4]:  # positions 1 to 80
            data[block.stop - 5] ^= 1
        data[filled.consumers[1].stop - 2] ^= 1  # damage that is salvaged at the opening

    async with SqliteJournal(filled.damaged(place / "j", change)) as journal:
        consumer = await journal.consumer("first")
        gap = await anext(consumer)
        await journal.append(event(1))
        await consumer.flush()
        statuses = {status.name: status for status in await journal.consumers()}

    assert gap == edr.Gap(22)  # positions 30, 41 and 61 to 80
    assert statuses["first"].missed == 3 + 22


def test_corrupt_counts_a_block_once_however_often_it_is_read(filled, place):
    def change(data):
        data[filled.blocks[4].stop - 5] ^= 1

    store = BlockStore(
        filled.damaged(place / "j", change), Limits(), full_sync=False, now=lambda: 1, report=print
    )
    store.open()
    for _ in range(3):
        assert sum(isinstance(each, Lost) for each in entries_of(store)) == 1
        assert store.corrupt == SIZE
    store.close()


@pytest.mark.parametrize("consumers", [1, 0])
def test_salvage_says_how_many_readers_it_lost(filled, place, consumers):
    """A consumer's row is damaged, or the count of rows of its page says that there is none."""

    def change(data):
        if consumers:
            data[filled.consumers[0].stop - 2] ^= 1
        else:
            page = filled.consumers[0].start // PAGE * PAGE
            assert data[page + 4] == len(READERS)
            data[page + 4] = 0

    said = []
    store = BlockStore(
        filled.damaged(place / "j", change), Limits(), full_sync=False, now=int, report=said.append
    )
    store.open()

    assert len(store.consumers) == consumers
    assert f"the state of {len(READERS) - consumers} consumers" in said[0]
    assert len(entries_of(store)) == BLOCKS * SIZE
    store.close()
