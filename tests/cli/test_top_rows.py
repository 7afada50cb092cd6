import pytest
from support.top_messages import consumer, message, part, subscription

from edr.cli.top_rows import Samples


def samples(*messages):
    made = Samples()
    for each in messages:
        made.add(each)
    return made


def row(subscription_or_none=None, **fields):
    given = [] if subscription_or_none is None else [subscription_or_none]
    return samples(message(*given, **fields)).rows[0]


def names(made, by="in"):
    return [each.name for each in made.sorted(by)]


def test_first_sample_has_no_rates():
    made = samples(message(subscription(offered=50), emits=100))

    assert made.rate is None
    assert made.rows[0].rate is None


def test_rates_are_of_the_time_between_samples():
    made = samples(
        message(subscription(offered=50), parts=[part(offered=7)], uptime=10.0, emits=100),
        message(subscription(offered=90), parts=[part(offered=9)], uptime=12.0, emits=300),
    )

    assert made.rate == 100
    assert [each.rate for each in made.rows] == [20, 1]
    assert list(made.rates) == [100]


def test_new_row_has_no_rate():
    made = samples(
        message(uptime=1.0), message(subscription(offered=90), uptime=2.0), message(uptime=3.0)
    )
    made.add(message(subscription(offered=95), uptime=4.0))

    assert made.rows[0].rate is None


def test_restarted_part_has_no_negative_rate():
    made = samples(
        message(parts=[part(offered=90)], uptime=1.0), message(parts=[part(offered=3)], uptime=2.0)
    )

    assert made.rows[0].rate == 0


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        (subscription(), ""),
        (subscription(stalled=True), "critical"),
        (subscription(dropped={"overflow": 3}), "warning"),
        (subscription(failed=1), "warning"),
        (subscription(pending=240), "warning"),
        (subscription(pending=200), ""),
    ],
)
def test_mark_of_a_subscription(given, mark):
    assert row(given).mark == mark


@pytest.mark.parametrize(
    ("given", "mark", "state"),
    [
        ({}, "", ""),
        ({"state": "ok"}, "", "ok"),
        ({"state": "failed"}, "critical", "failed"),
        ({"state": "retrying", "error": "503"}, "critical", "retrying: 503"),
        ({"error": "503"}, "critical", "503"),
        ({"state": "ok", "lost": {"dead": 2}}, "warning", "ok"),
        ({"state": "ok", "lost": {"dead": 0}}, "", "ok"),
        ({"lost": 2}, "warning", ""),
        ({"lost": "many", "offered": "?"}, "", ""),
    ],
)
def test_mark_and_state_of_a_part(given, mark, state):
    found = row(parts=[part(**given)])

    assert (found.mark, found.state) == (mark, state)


def test_consumer_has_its_lag_as_backlog():
    found = row(consumers=[consumer(lag=1902, unacked=7, missed=3, open=False)])

    assert (found.kind, found.backlog, found.lost) == ("consumer", 1902, {"missed": 3})
    assert found.state == "not open, 7 unacked"


def test_callback_has_its_last_error():
    found = row(subscription(kind="callback", failed=2, last_error="ValueError: x"))

    assert (found.kind, found.state, found.lost) == ("callback", "ValueError: x", {"failed": 2})


def test_too_many_bindings_are_counted():
    assert row(subscription(bindings=None, bindings_count=5000)).binding == "5,000 bindings"


def test_rows_with_trouble_are_first():
    given = [
        subscription(1, name="busy"),
        subscription(2, name="lost", dropped={"overflow": 9}),
        subscription(3, name="losing", dropped={"overflow": 1}),
        subscription(4, name="full", pending=256),
        subscription(5, name="stalled", stalled=True),
    ]
    later = [
        {**given[0], "offered": 900},
        given[1],
        {**given[2], "dropped": {"overflow": 2}},
        *given[3:],
    ]
    made = samples(message(*given, uptime=1.0), message(*later, uptime=2.0))

    assert names(made) == ["stalled", "losing", "full", "lost", "busy"]


def test_parts_are_before_subscriptions_with_the_same_trouble():
    given = [subscription(n, name=f"s{n}", stalled=True, dropped={"stalled": 9}) for n in range(3)]
    given.append(subscription(9, name="busy", offered=9))
    parts = [part("failed", error="503"), part("idle", state="ok")]
    made = samples(message(*given, parts=parts))

    assert names(made) == ["failed", "s0", "s1", "s2", "idle", "busy"]


def test_faults_include_those_of_omitted_subscriptions():
    given = message(subscription(stalled=True), parts=[part(error="503")], omitted=4000)
    given["bus"]["stalled"] = 40

    assert samples(given).faults == 41


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("in", "rate"),
        ("backlog", "backlog"),
        ("oldest", "oldest"),
        ("delivered", "delivered"),
        ("name", "a"),
    ],
)
def test_rows_are_sorted_by_a_key(by, first):
    given = [
        subscription(1, name="rate"),
        subscription(2, name="backlog", pending=9),
        subscription(3, name="oldest", oldest_age=5.0),
        subscription(4, name="delivered", delivered=100),
        subscription(5, name="a"),
    ]
    later = [{**given[0], "offered": 50}, *given[1:]]
    made = samples(message(*given, uptime=1.0), message(*later, uptime=2.0))

    assert names(made, by)[0] == first


def test_rows_of_similar_rates_keep_their_places():
    made = samples()
    counts = [0, 0]
    for second, growth in enumerate([(100, 50)] * 5 + [(70, 75)]):
        counts = [counts[0] + growth[0], counts[1] + growth[1]]
        given = [
            subscription(1, name="z", offered=counts[0]),
            subscription(2, name="a", offered=counts[1]),
        ]
        made.add(message(*given, uptime=float(second)))

    assert names(made) == ["z", "a"]


def test_omitted_rows_are_counted():
    given = message(consumers=[], omitted=4000, parts_omitted=2)
    given["journal"]["consumers_omitted"] = 10

    assert samples(given).omitted == 4012


def test_emits_that_wait_are_shown_before_losses():
    waited_for = subscription(name="ledger", pending=101, capacity=100, overflow="block", number=1)
    losing = subscription(name="screen", dropped={"overflow": 5}, number=2)
    made = samples(message(losing, waited_for))

    assert names(made) == ["ledger", "screen"]
    assert made.sorted("in")[0].state == "1 emit waiting"


@pytest.mark.parametrize(("oldest", "mark"), [(4.0, ""), (6.0, "warning")])
def test_event_that_has_waited_for_long_is_a_warning(oldest, mark):
    assert row(subscription(pending=2, oldest_age=oldest)).mark == mark
