"""A view agrees with ``Binding.matches`` on the event as its clients see it."""

import random

from support.stream_model import BINDINGS, GRANTS, StreamModel, sees

from edr import Binding
from edr.streams import Grant
from edr.streams.view import View


def some_events(count):
    model = StreamModel(1, size=1, history=False)
    return [model.make_event() for _ in range(count)]


def test_view_agrees_with_the_bindings_on_the_cut_event():
    for event in some_events(200):
        for bindings in BINDINGS:
            for grant in GRANTS:
                assert View(bindings, grant).matches(event) == sees(event, bindings, grant)


def test_tap_bindings_and_admits_agree_with_matches():
    draw = random.Random(2)
    for event in some_events(500):
        view = View(draw.choice(BINDINGS), draw.choice(GRANTS))
        is_offered = any(binding.matches(event) for binding in view.tap_bindings)

        assert (is_offered and view.admits(event)) == view.matches(event)


def test_binding_that_names_an_account_above_matches_nothing(make_event):
    event = make_event(account_id="branch", account_tree=("root", "reseller"))
    above = Binding(account_id="root", include_descendants=True)

    assert above.matches(event)
    assert not View((above,), Grant("reseller")).matches(event)
    assert not View((above,), Grant("reseller")).admits(event)
    assert View((above,), Grant("root")).matches(event)


def test_bindings_without_an_account_are_narrowed():
    view = View((Binding(app_name="a"), Binding(account_id="x")), Grant("*"))

    assert view.tap_bindings == (
        Binding(app_name="a", account_id=["*"], include_descendants=True),
        Binding(account_id="x"),
    )


def test_views_with_the_same_bindings_and_grant_have_the_same_key():
    first, second = Binding(app_name="a"), Binding(severity="warning")

    assert View((first, second), Grant("g")).key == View((second, first), Grant("g")).key
    assert View((first,), Grant("g")).key != View((first,), Grant("h")).key
    assert View((first,), Grant("g")).key != View((second,), Grant("g")).key


def test_limit_is_a_view_that_every_event_must_match_too():
    draw = random.Random(3)
    limit = View((Binding(app_name="a"), Binding(severity="critical")), Grant.everything())
    for event in some_events(500):
        bindings, grant = draw.choice(BINDINGS), draw.choice(GRANTS)
        view = View(bindings, grant, limit)
        is_offered = any(binding.matches(event) for binding in view.tap_bindings)
        expected = limit.matches(event) and View(bindings, grant).matches(event)

        assert view.matches(event) == (is_offered and view.admits(event)) == expected
