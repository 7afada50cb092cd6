import pytest
from contracts.journal import events
from hypothesis import given
from hypothesis import strategies as st

from edr.journal.codec import decode, decode_keys
from edr.journal.pages import Pages
from edr.journal.schema import PAGE, ConsumerState


def numbers_in(path):
    with Pages(path / "journal.sqlite3") as pages:
        pages.scan()
        found = []
        for each in pages.blocks:
            block = pages.block(each)
            keys = decode_keys(block)
            entries = decode(block, keys, [True] * len(keys.keys), block.first - 1)
            found += [entry.event.body["n"] for entry in entries]
        return found, pages


@pytest.mark.parametrize("is_closed", [True, False])
def test_it_finds_all_that_sqlite_would(make_store, is_closed):
    store = make_store()
    for n in range(0, 3000, 30):
        store.append(events(*range(n, n + 30), body={"text": "xyz" * (n % 50)}))
    store.make_consumer(ConsumerState("r", "[]", 5))
    if is_closed:
        store.close()
    found, pages = numbers_in(store.path)

    assert found == list(range(3000))
    assert pages.consumers == store.consumers
    assert pages.metadata.id == store.id
    assert pages.is_whole


@pytest.mark.slow
def test_what_was_merged_is_not_found_twice(make_store):
    store = make_store()
    for n in range(500):
        store.append(events(n))

    assert numbers_in(store.path)[0] == list(range(500))


def test_blank_page_that_is_free_is_not_damage(make_store):
    store = make_store()
    for n in range(0, 4096, 256):
        store.append(events(*range(n, n + 256), body={"pad": str(n) * 20}))
    store._connection.execute("DELETE FROM blocks WHERE first < 2000")  # as retention does
    (free,) = store._connection.execute("PRAGMA freelist_count").fetchone()
    store.close()
    database = store.path / "journal.sqlite3"
    data = bytearray(database.read_bytes())
    trunk = int.from_bytes(data[32:36], "big")
    leaf = int.from_bytes(data[(trunk - 1) * PAGE + 8 :][:4], "big")
    assert free > 1
    data[(leaf - 1) * PAGE : leaf * PAGE] = bytes(PAGE)
    database.write_bytes(data)

    assert numbers_in(store.path)[1].is_whole


@given(st.binary(max_size=12000))
def test_no_bytes_are_too_odd(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("pages") / "journal.sqlite3"
    path.write_bytes(b"\x0d\0\0\0\x05" + data)
    with Pages(path) as pages:
        pages.scan()
        assert pages.blocks == []
