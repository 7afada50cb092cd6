from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import events

import edr
from edr.journal.codec import (
    COMPRESSED_FROM,
    DamagedBlock,
    decode,
    decode_keys,
    encode,
    level_bit,
    masks_of,
    microseconds,
    name_bit,
    time_of,
)

many = st.lists(events, min_size=1, max_size=40)


def decoded(block, after=0):
    keys = decode_keys(block)
    return decode(block, keys, [True] * len(keys.keys), after)


@given(many, st.integers(1, 2**62))
def test_what_was_encoded_is_decoded(given_events, first):
    times = sorted(1_700_000_000_000_000 + n // 3 for n in range(len(given_events)))
    entries = decoded(encode(first, list(zip(given_events, times, strict=True))))

    assert [entry.event for entry in entries] == given_events
    assert [entry.position for entry in entries] == list(range(first, first + len(entries)))
    assert [microseconds(entry.recorded_at) for entry in entries] == times


@given(events)
def test_a_decoded_event_is_as_a_validated_one(event):
    (entry,) = decoded(encode(1, [(event, 0)]))
    validated = edr.Event.model_validate_json(event.model_dump_json())

    assert entry.event == validated
    assert entry.event.model_dump() == validated.model_dump()
    assert entry.event.model_dump_json() == validated.model_dump_json()
    assert entry.event.model_fields_set == validated.model_fields_set
    assert hash(entry.event) == hash(validated)
    for name, value in validated:
        assert type(getattr(entry.event, name)) is type(value)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 70))
def test_only_what_is_behind_a_position_is_decoded(count, after):
    event = edr.Event(app_name="a", app_version="1", severity="ok", verbosity="info", body={})
    positions = [entry.position for entry in decoded(encode(1, [(event, 0)] * count), after)]

    assert positions == list(range(after + 1, count + 1))


@pytest.mark.parametrize("count", [1, COMPRESSED_FROM])
def test_no_flipped_byte_goes_unseen(count, make_event):
    block = encode(7, [(make_event(body={"n": n}), n) for n in range(count)])
    seen = 0
    for field in ("keys", "rows"):
        data = getattr(block, field)
        for at in range(len(data)):
            damaged = bytearray(data)
            damaged[at] ^= 0x10
            try:
                # A bit that the compressor does not use changes nothing.
                assert decoded(block._replace(**{field: bytes(damaged)})) == decoded(block)
            except DamagedBlock:
                seen += 1
    assert seen >= len(block.keys) + len(block.rows) - 2
    for field in ("first", "last", "since", "until", "levels", "apps", "accounts"):
        with pytest.raises(DamagedBlock):
            decode_keys(block._replace(**{field: getattr(block, field) ^ 1}))


@given(many)
def test_every_key_has_its_bits_in_the_masks(given_events):
    block = encode(1, [(event, 0) for event in given_events])
    for event in given_events:
        assert block.levels & level_bit(event.severity, event.verbosity)
        assert block.apps & name_bit(event.app_name)
        for account in (event.account_id, *event.account_tree):
            assert account is None or block.accounts & name_bit(account)


def test_each_pair_of_levels_has_a_bit_of_its_own():
    bits = {level_bit(s, v) for s in edr.Severity for v in edr.Verbosity}

    assert len(bits) == 18
    assert sum(bits) == 2**18 - 1


def test_bits_of_names_are_the_same_in_every_process():
    assert name_bit("callflow") == 1 << 42
    assert masks_of([(None, (), "callflow", "1", "n", "ok", "info")]) == (4, 1 << 42, 0)


def test_masks_fit_the_database():
    assert all(name_bit(str(n)) < 2**63 for n in range(1000))


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_come_back(time):
    assert time_of(microseconds(time)) == time
