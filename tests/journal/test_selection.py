from hypothesis import given
from hypothesis import strategies as st
from support.strategies import events, some_bindings, some_events

import edr
from edr.journal.codec import decode_keys, encode, row_of
from edr.journal.selection import EVERYTHING, MAX_CLAUSES, Selection, bindings_in

patterns = st.none() | st.sampled_from([{"n": [1, 2]}, {"n": [{"exists": False}]}])
bindings = st.builds(
    lambda binding, body: binding.model_copy(update={"body": body and edr.Pattern(body)}),
    some_bindings(),
    patterns,
)
given_one = some_events(st.fixed_dictionaries({}, optional={"n": st.integers(0, 3)}))


def may_hold(clauses, block):
    """What the database asks of a block."""
    return not clauses or any(
        all(
            mask == EVERYTHING or getattr(block, column) & mask
            for column, mask in zip(clause._fields, clause, strict=True)
        )
        for clause in clauses
    )


@given(st.lists(bindings, min_size=1, max_size=MAX_CLAUSES + 4), st.lists(given_one, min_size=1))
def test_masks_keys_and_events_agree_with_the_bindings(wanted_by, given_events):
    selection = Selection(wanted_by)
    for event in given_events:
        expected = any(binding.matches(event) for binding in wanted_by)
        block = encode(1, [(row_of(event), 0)])
        (verdict,) = selection.match_keys(decode_keys(block))
        by_key = verdict if isinstance(verdict, bool) else verdict(event.body)

        assert selection.matches(event) is expected
        assert by_key is expected
        assert may_hold(selection.clauses, block) or not expected


@given(events)
def test_without_a_binding_everything_is_wanted(event):
    selection = Selection(())

    assert selection.matches(event)
    assert selection.match_keys(decode_keys(encode(1, [(row_of(event), 0)]))) == [True]
    assert selection.clauses == ()


@given(st.lists(bindings))
def test_text_of_bindings_can_be_read(wanted_by):
    assert set(bindings_in(Selection(wanted_by).text)) == set(wanted_by)
    assert Selection(wanted_by[::-1]).text == Selection(wanted_by).text


def test_text_is_read_without_limits():
    limits = edr.Limits(max_elements=20_000)
    many = edr.bindings_from_json({"body": {"n": list(range(15_000))}}, limits=limits)

    assert bindings_in(Selection([many]).text) == (many,)
