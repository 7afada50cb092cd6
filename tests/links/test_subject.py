"""Patterns cover, and with the local match equal, what a binding means."""

import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.strategies import some_bindings, some_events

import edr
from edr.links.subject import (
    LISTED,
    LONGEST,
    MAX_PREFIX,
    checked_prefix,
    filters_of,
    hops_of,
    patterns_at,
    patterns_of,
    plan,
    stem_of,
    subject_of,
    token,
    uncovered,
)
from edr.records import trie_keys

EVIL = [
    "a",
    "b",
    "A",
    "*",
    ">",
    ".",
    "a.b",
    "a b",
    "~",
    "~deep",
    "-",
    "_",
    "%2E",
    "%",
    "w",
    "\r\nPUB x 0",
    "\x00",
    "é",
    "日本",
    "x" * 64,
    "x" * 65,
    "." * 30,
    "x" * 5000,
    "1",
]
PAIRS = 100_000


def server_matches(pattern, subject):
    """Whether a NATS server gives `subject` to who asks for `pattern`; by its documented rules."""
    wanted, found = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    return len(found) == len(wanted) and all(
        w in ("*", f) for w, f in zip(wanted, found, strict=True)
    )


def one_or_many(draw, names):
    return draw.choice(names) if draw.random() < 0.7 else draw.sample(names, draw.randint(1, 4))


def random_event(draw):
    accounts = draw.sample(EVIL, draw.choice([0, 1, 1, 2, 3, 4, 9, 10, 14]))
    return edr.Event(
        account_id=accounts.pop() if accounts and draw.random() < 0.9 else None,
        account_tree=accounts,
        app_name=draw.choice(EVIL),
        app_version="1",
        body={},
        severity=draw.choice(list(edr.Severity)),
        verbosity=draw.choice(list(edr.Verbosity)),
    )


def random_binding(draw):
    return edr.Binding(
        account_id="*" if draw.random() < 0.3 else one_or_many(draw, EVIL),
        include_descendants=draw.random() < 0.6,
        app_name="*" if draw.random() < 0.6 else one_or_many(draw, EVIL),
        severity=one_or_many(draw, list(edr.Severity)[:3] * 2),
        exact_severity=draw.random() < 0.2,
        verbosity=one_or_many(draw, list(edr.Verbosity)),
        exact_verbosity=draw.random() < 0.2,
    )


def test_patterns_and_the_local_match_equal_the_binding_over_many_pairs_of_evil_names(capsys):
    draw = random.Random(11)
    events = [random_event(draw) for _ in range(400)]
    subjects = [subject_of(event) for event in events]
    matching = covered = pairs = 0
    while pairs < PAIRS:
        binding = random_binding(draw)
        patterns = re.compile("|".join(map(as_regex, patterns_of(binding))))
        index = edr.BindingIndex()
        index.add("here", binding)
        for event, subject in zip(events, subjects, strict=True):
            arrives = patterns.fullmatch(subject) is not None
            taken = arrives and index.match(event) == ["here"]
            assert taken == binding.matches(event), (binding, event)
            pairs += 1
            matching += taken
            covered += arrives
    with capsys.disabled():
        print(  # noqa: T201 - a share of pairs near zero would prove nothing
            f"\n{pairs} pairs of bindings and events: {matching / pairs:.1%} match, "
            f"{covered / pairs:.1%} would be sent by a server"
        )
    assert matching / pairs > 0.01


def as_regex(pattern):
    return re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")


@given(st.lists(some_bindings(), min_size=1, max_size=3), st.lists(some_events(), min_size=3))
@settings(max_examples=2 * settings.default.max_examples)
def test_patterns_ask_for_nothing_that_is_not_wanted(bindings, events):
    """With names of up to 64 characters and trees of up to 8: the server decides alone."""
    patterns = patterns_of(*bindings)
    for event in events:
        arrives = any(server_matches(pattern, subject_of(event)) for pattern in patterns)

        assert arrives == any(binding.matches(event) for binding in bindings)


@given(
    st.lists(some_bindings(), min_size=1, max_size=6),
    st.lists(some_events(), min_size=3),
    st.integers(1, 12),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_a_plan_has_few_patterns_and_covers_all(bindings, events, limit):
    keys = [key for binding in bindings for key in trie_keys(binding)]
    patterns = plan(keys, limit)

    assert 1 <= len(patterns) <= limit
    for event in events:
        if any(binding.matches(event) for binding in bindings):
            assert any(server_matches(pattern, subject_of(event)) for pattern in patterns)


@given(st.lists(some_bindings(), min_size=1, max_size=6), st.lists(some_events(), min_size=3))
@settings(max_examples=2 * settings.default.max_examples)
def test_leaving_out_what_is_covered_changes_nothing(bindings, events):
    keys = [key for binding in bindings for key in trie_keys(binding)]
    all_patterns, fewer = list(patterns_at(keys)), list(patterns_at(uncovered(keys)))

    for subject in map(subject_of, events):
        assert any(server_matches(p, subject) for p in all_patterns) == any(
            server_matches(p, subject) for p in fewer
        )


@given(
    st.lists(some_bindings(), min_size=1, max_size=4),
    st.lists(some_events(), min_size=3),
    st.integers(1, 8),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_of_the_filters_of_a_consumer_no_two_meet_and_they_cover_all(bindings, events, limit):
    filters = filters_of(*bindings, limit=limit)

    assert 1 <= len(filters) <= limit
    for event in events:
        arrives = sum(server_matches(pattern, subject_of(event)) for pattern in filters)
        assert arrives <= 1
        assert arrives or not any(binding.matches(event) for binding in bindings)


any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(any_text | st.sampled_from(EVIL))
def test_a_token_is_one_word_that_a_server_takes_as_it_stands(name):
    assert re.fullmatch(r"[A-Za-z0-9_%~-]{1,64}", token(name))


@given(any_text | st.sampled_from(EVIL), any_text | st.sampled_from(EVIL))
def test_two_names_are_two_tokens(one, other):
    assert (token(one) == token(other)) == (one == other)


def test_no_name_is_the_token_of_another_things():
    assert token("~") == "%7E"
    assert token("~deep") == "%7Edeep"
    assert token(token("x" * 65)) != token("x" * 65)


@given(some_events())
@example(
    edr.Event(
        account_id="é" * 999,
        account_tree=["日" * n for n in range(1, 200)],
        app_name="." * 21,
        app_version="1",
        body={},
        severity="ok",
        verbosity="info",
    )
)
def test_a_subject_is_never_too_long(event):
    assert len(subject_of(event, 9, "p" * MAX_PREFIX)) <= LONGEST
    assert ".." not in subject_of(event)


def test_the_subject_reads_as_the_event(make_event):
    event = make_event(
        "callflow", "warning", "info", account_id="acme", account_tree=["root", "holding"]
    )

    assert subject_of(event) == "edr.acme.callflow.w.-.d.i.-.-.-.root.holding.1"
    assert subject_of(make_event("a.b", "ok", "trace"), 3) == "edr.~.a%2Eb.-.-.-.-.-.-.-.3"
    assert stem_of(make_event(), "x.y") == "x.y.~.app.-.-.d.i.-.-.-"


def test_a_threshold_an_exact_level_and_a_run_are_one_pattern_each():
    assert patterns_of(edr.Binding()) == ("edr.*.*.*.*.*.i.*.*.*.>",)
    assert patterns_of(edr.Binding(severity="warning", exact_severity=True)) == (
        "edr.*.*.w.-.*.i.*.*.*.>",
    )
    assert patterns_of(edr.Binding(verbosity=["debug", "info", "warn"])) == (
        "edr.*.*.*.*.d.*.*.-.*.>",
    )
    assert len(patterns_of(edr.Binding(severity=["ok", "critical"]))) == 2


def test_descendants_take_a_pattern_for_each_depth_and_one_for_the_deep():
    patterns = patterns_of(edr.Binding(account_id="acme", include_descendants=True))

    assert len(patterns) == 1 + LISTED + 1
    assert patterns[3] == "edr.*.*.*.*.*.i.*.*.*.*.*.acme.>"
    assert patterns[-1] == "edr.*.*.*.*.*.i.*.*.*.*.*.*.*.*.*.*.*.~deep.>"


def test_beyond_the_limit_accounts_become_any_account_where_there_are_most():
    few = edr.Binding(app_name="few", account_id=["x", "y"])
    many = edr.Binding(app_name="many", account_id=[f"a{n}" for n in range(300)])
    keys = trie_keys(few) + trie_keys(many)

    assert plan(keys, 3) == set(patterns_of(few, edr.Binding(app_name="many")))
    assert plan(keys, 302) == set(patterns_of(few, many))


@pytest.mark.parametrize(
    ("subject", "hops"),
    [("edr.a.1", 1), ("edr.a.4", 4), ("edr.a.x", 0), ("edr.a.", 0), ("edr.a.1234", 0), ("a.²", 0)],
)
def test_hops_that_are_no_number_are_none(subject, hops):
    assert hops_of(subject) == hops


@pytest.mark.parametrize("wrong", ["", ".", "a..b", "a.", "*", "a.>", "a b", "x" * 65])
def test_a_prefix_that_would_be_no_subject_is_refused(wrong):
    with pytest.raises(ValueError, match="a prefix is"):
        checked_prefix(wrong)
