import pytest

from edr.web.blackhole import replies
from edr.web.blackhole.keys import Key
from edr.web.blackhole.replies import RequestError


def key_of(text):
    return Key.of_parts(text.split(".")[1:])


@pytest.mark.parametrize("text", ["edr.ok.trace.*", "edr.critical.error.acdc"])
def test_key_is_written_as_it_was_read(text):
    assert str(key_of(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("edr.ok.info", replies.BINDING_FORMAT),
        ("edr.ok.info.my.app", replies.BINDING_FORMAT),
        ("edr.ok.info.", replies.BINDING_FORMAT),
        ("edr.*.info.acdc", replies.SEVERITIES),
        ("edr.bad.bad.acdc", replies.SEVERITIES),
        ("edr.ok.*.acdc", replies.VERBOSITIES),
    ],
)
def test_invalid_key_is_an_error_of_kazoo(text, error):
    with pytest.raises(RequestError) as caught:
        key_of(text)

    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "count"),
    [("edr.critical.fatal.*", 1), ("edr.critical.error.acdc", 2), ("edr.ok.trace.*", 18)],
)
def test_key_is_expanded_for_each_pair_of_levels(text, count):
    assert key_of(text).expanded == count


def test_key_matches_events_of_its_account_from_its_levels_up(make_event):
    binding = key_of("edr.warning.warn.acdc").binding("branch")

    def matches(severity, verbosity, account_id="branch", app_name="acdc"):
        event = make_event(app_name, severity, verbosity, account_id=account_id)
        return binding.matches(event)

    assert matches("warning", "warn")
    assert matches("critical", "fatal")
    assert not matches("ok", "fatal")
    assert not matches("critical", "info")
    assert not matches("critical", "fatal", account_id="child")
    assert not matches("critical", "fatal", app_name="callflow")


def test_any_app_matches_an_app_with_a_dot_too(make_event):
    binding = key_of("edr.ok.info.*").binding("*")

    assert binding.matches(make_event("my.app"))


def test_expanded_key_has_the_levels_of_the_event(make_event):
    event = make_event("acdc", "critical", "fatal", account_id="child")

    assert key_of("edr.ok.info.*").expanded_key(event, "child") == "edr.critical.fatal.child.*"
    assert key_of("edr.ok.info.acdc").expanded_key(event, "*") == "edr.critical.fatal.*.acdc"
