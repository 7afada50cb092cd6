"""The changes that a reload makes."""

import pytest

from app.fakes import configuration, secrets
from edr.app.changes import Action, changes_between, fixed_settings_changed, part_values

SINK = '[sinks.a]\ntype = "http"\nurl = {}\n'
PLAIN = SINK.format('"http://h/"')
SECRET = SINK.format('{ env = "URL" }')


def changes(old, new, old_environ=None, new_environ=None):
    values = [
        part_values(configuration(text, environ or {}), secrets(environ))
        for text, environ in ((old, old_environ), (new, new_environ))
    ]
    return [(each.action, each.kind, each.name) for each in changes_between(*values)]


def test_equal_configurations_have_no_changes():
    assert changes(PLAIN, PLAIN + "# a comment\n") == []


def test_added_and_removed_parts_are_changes():
    other = PLAIN.replace("sinks.a", "sinks.b")

    assert changes(PLAIN, other) == [(Action.REMOVED, "sink", "a"), (Action.ADDED, "sink", "b")]


def test_a_disabled_part_is_removed():
    assert changes(PLAIN, PLAIN + "enabled = false\n") == [(Action.REMOVED, "sink", "a")]


def test_other_bindings_alone_rebind():
    bound = PLAIN + 'bindings = [{ severity = "critical" }]\n'

    assert changes(PLAIN, bound) == [(Action.REBOUND, "sink", "a")]
    assert changes(PLAIN, bound + "timeout = 5\n") == [(Action.REPLACED, "sink", "a")]


def test_another_type_replaces():
    file = '[sinks.a]\ntype = "file"\npath = "a"\n'

    assert changes(PLAIN, file) == [(Action.REPLACED, "sink", "a")]


def test_another_value_of_a_secret_replaces():
    urls = ({"URL": "http://a/"}, {"URL": "http://b/"})

    assert changes(SECRET, SECRET, urls[0], urls[0]) == []
    assert changes(SECRET, SECRET, *urls) == [(Action.REPLACED, "sink", "a")]


def test_settings_that_need_a_restart_are_named():
    old = configuration(PLAIN)
    new = configuration("[app]\nshutdown_timeout = 1\nname = 'other'\n" + PLAIN)

    assert [fault.path for fault in fixed_settings_changed(old, new)] == ["app.name"]


def test_the_gateway_is_one_part():
    web = 'web = { authenticate = "a:b" }\n'

    assert changes(web, web + PLAIN) == [(Action.ADDED, "sink", "a")]
    assert changes(web, web.replace("a:b", "a:c")) == [(Action.REPLACED, "gateway", "web")]


@pytest.mark.parametrize(
    ("key", "value"),
    [("listen", '"127.0.0.1:1"'), ("behind_proxy", "true"), ("proxies", '["10.0.0.1"]')],
)
def test_the_server_of_the_gateway_needs_a_restart(key, value):
    web = 'web.authenticate = "a:b"\n'
    old, new = configuration(web), configuration(f"{web}web.{key} = {value}\n")

    assert [fault.path for fault in fixed_settings_changed(old, new)] == [f"web.{key}"]


def test_a_gateway_is_not_added_by_a_reload():
    old, new = configuration(PLAIN), configuration(f'{PLAIN}[web]\nauthenticate = "a:b"')

    assert "web.listen" in [fault.path for fault in fixed_settings_changed(old, new)]
