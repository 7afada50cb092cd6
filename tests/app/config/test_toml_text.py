import tomllib

from hypothesis import given

from app.config.documents import ENVIRON, FULL
from app.config.valid import CONFIGURATIONS, validated
from edr.app.config import Configuration, Secret, read, to_toml


@given(CONFIGURATIONS)
def test_the_text_loads_to_an_equal_value(configuration):
    text = to_toml(configuration)

    assert validated(tomllib.loads(text)) == configuration


def test_the_text_shows_names_of_secrets_only(tmp_path):
    (tmp_path / "alarms.token").write_text("Bearer CANARY")
    found = read(FULL.encode(), folder=tmp_path, environ=ENVIRON).configuration

    text = to_toml(found)

    assert "CANARY" not in text
    assert 'url = { env = "ALARMS_URL" }' in text
    assert f'Authorization = {{ file = "{tmp_path}/alarms.token" }}' in text
    assert read(text.encode(), environ=ENVIRON).configuration == found


def test_a_secret_of_a_kazoo_document_becomes_a_variable():
    sink = {"type": "http", "url": Secret(given="https://a:CANARY@b")}
    found = Configuration.model_validate({"sinks": {"my-hook": sink}})

    text = to_toml(found)

    assert 'url = { env = "EDR_SINKS_MY_HOOK_URL" }' in text
    assert "CANARY" not in text


def test_a_pattern_with_null_is_json_text():
    binding = {"body": {"a": [None, '\x7f\u202e"']}}
    found = Configuration.model_validate(
        {"sinks": {"a": {"type": "stdout", "bindings": [binding]}}}
    )

    text = to_toml(found)

    assert Configuration.model_validate(tomllib.loads(text)) == found
    assert "\x7f" not in text
    assert "\u202e" not in text


def test_units_are_the_largest_that_fit():
    found = read(
        b"[journal]\nmax_bytes = 2097152\nmax_age = 7200\n[app]\ndata_dir = '/x'"
    ).configuration

    text = to_toml(found)

    assert 'max_bytes = "2 MiB"' in text
    assert 'max_age = "2h"' in text


def test_paths_in_the_folder_are_relative(tmp_path):
    text = 'sinks.a = { type = "file", path = "sub/a" }\ncontrol.path = "/run/x"'
    found = read(text.encode(), folder=tmp_path).configuration

    again = to_toml(found, folder=tmp_path)

    assert 'path = "sub/a"' in again
    assert 'path = "/run/x"' in again
    assert 'data_dir = "edr-data"' in again
    assert read(again.encode(), folder=tmp_path).configuration == found
