from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import events

import edr
from edr.journal.codec import (
    COMPRESSED_FROM,
    HEADER,
    DamagedBlockError,
    Row,
    check_header,
    decode,
    decode_keys,
    encode,
    level_bit,
    masks_of,
    microseconds,
    name_bit,
    row_of,
    time_of,
)

many = st.lists(events, min_size=1, max_size=40)


def decoded(block, after=0):
    keys = decode_keys(block)
    return decode(block, keys, [True] * len(keys.keys), after)


@given(many, st.integers(1, 2**62))
def test_what_was_encoded_is_decoded(given_events, first):
    times = sorted(1_700_000_000_000_000 + n // 3 for n in range(len(given_events)))
    entries = decoded(encode(first, list(zip(map(row_of, given_events), times, strict=True))))

    assert [entry.event for entry in entries] == given_events
    assert [entry.position for entry in entries] == list(range(first, first + len(entries)))
    assert [microseconds(entry.recorded_at) for entry in entries] == times


@given(events)
def test_a_decoded_event_is_as_a_validated_one(event):
    (entry,) = decoded(encode(1, [(row_of(event), 0)]))
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
    positions = [
        entry.position for entry in decoded(encode(1, [(row_of(event), 0)] * count), after)
    ]

    assert positions == list(range(after + 1, count + 1))


@pytest.mark.parametrize("count", [1, COMPRESSED_FROM])
def test_check_finds_each_flipped_bit_of_a_block(count, make_event):
    block = encode(7, [(row_of(make_event(body={"n": n})), n) for n in range(count)])
    block.check()
    for field, value in block._asdict().items():
        for bit in range(64 if isinstance(value, int) else 8 * len(value)):
            with pytest.raises(DamagedBlockError):
                block._replace(**{field: flipped(value, bit)}).check()


@pytest.mark.parametrize("value", [None, 1.5, "7", b"7", 2**63])
def test_check_header_refuses_other_types(value, make_event):
    block = encode(7, [(row_of(make_event()), 1)])
    for field in HEADER:
        with pytest.raises(DamagedBlockError):
            check_header(block._replace(**{field: value}))


def flipped(value, bit):
    if isinstance(value, int):
        return value ^ 1 << bit
    data = bytearray(value)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


@given(many)
def test_every_key_has_its_bits_in_the_masks(given_events):
    block = encode(1, [(row_of(event), 0) for event in given_events])
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


def test_optional_fields_are_stored_only_where_they_are_set(make_event):
    traced = make_event(traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    plain = make_event(body={"n": 1})

    assert b"traceparent" in row_of(traced).data
    assert b"traceparent" not in row_of(plain).data
    entries = decoded(encode(1, [(row_of(each), 0) for each in (plain, traced, plain)]), 1)
    assert [entry.event for entry in entries] == [traced, plain]


def test_optional_field_that_is_not_known_is_ignored(make_event):
    event = make_event()
    key, data = row_of(event)
    newer = data.removesuffix(b"]") + b',{"colour":"red"}]'

    (entry,) = decoded(encode(1, [(Row(key, newer), 0)]))
    assert entry.event == event
    assert "colour" not in entry.event.__dict__
