"""Hypothesis strategies of what bodies and names can be."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from edr import Binding, Event, Severity, Verbosity
from edr.records.body import INT_MAX, INT_MIN

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children) | st.dictionaries(st.text("aé.*", max_size=3), children),
    max_leaves=20,
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)

# Few names, so that what is drawn meets.
few = st.sampled_from(["a", "b", "*", "a.b"])
levels = {"severity": st.sampled_from(Severity), "verbosity": st.sampled_from(Verbosity)}

traceparents = st.builds(
    "00-{:032x}-{:016x}-{:02x}".format,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)

events = st.builds(
    Event,
    app_name=names,
    app_version=names,
    severity=st.sampled_from(Severity),
    verbosity=st.sampled_from(Verbosity),
    body=st.dictionaries(st.text("abc", max_size=2), json_values, max_size=3),
    account_id=st.none() | names,
    account_tree=st.lists(names.map("above ".__add__), max_size=3),
    id=names,
    node=names,
    timestamp=st.datetimes(
        datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.sampled_from([UTC])
    ),
    traceparent=st.none() | traceparents,
)


def some_bindings(few=few):
    """Bindings to few names, of all forms but body patterns."""
    one_or_many = few | st.lists(few, min_size=1, max_size=3)
    return st.builds(
        Binding,
        account_id=st.just("*") | one_or_many,
        include_descendants=st.booleans(),
        app_name=st.just("*") | one_or_many,
        exact_severity=st.booleans(),
        exact_verbosity=st.booleans(),
        **{name: level | st.lists(level, min_size=1, max_size=3) for name, level in levels.items()},
    )


def accounts(few=few):
    """Return the account fields of events: an account below others, none, or only ancestors."""
    path = st.lists(few, min_size=1, max_size=3, unique=True)
    return (
        path.map(lambda names: {"account_id": names[-1], "account_tree": names[:-1]})
        | st.just({"account_id": None})
        | path.map(lambda names: {"account_id": None, "account_tree": names})
    )


def some_events(body=st.just({}), few=few):  # noqa: B008 - as above
    """Events of few names, which such bindings often match."""
    return st.builds(
        lambda account, **fields: Event(app_version="1", **account, **fields),
        account=accounts(few),
        app_name=few,
        body=body,
        **levels,
    )
