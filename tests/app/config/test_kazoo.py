import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.documents import VALUES
from app.config.test_loading import faults_of, is_plain
from edr import Binding
from edr.app.config import (
    ConfigurationError,
    KazooFormat,
    Secret,
    load,
    load_with_notes,
    read,
    to_toml,
)

EXAMPLES = Path(__file__).parents[3] / "examples" / "kazoo"
PAGE = Path(__file__).parents[3] / "docs" / "migrating-from-kazoo.md"
BLOCKS = re.findall(r"```(?:json|toml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ENVIRON = {"EDR_AMQP_URL": "amqp://guest:CANARY@broker"}
FILE = {
    "name": "audit",
    "type": "file",
    "enabled": True,
    "options": {"path": "/var/log/edr.log"},
    "bindings": [{"severity": "ok", "verbosity": "debug"}],
}
HTTP = {
    "name": "alarms",
    "type": "http",
    "enabled": True,
    "options": {"url": "https://hooks.example.net/edr"},
    "bindings": [{"severity": "critical", "verbosity": "info"}],
}
AMQP = {"name": "amqp", "type": "amqp", "enabled": True, "bindings": HTTP["bindings"]}


def loaded(*backends, section=None, environ=ENVIRON, **options):
    document = {"backends": list(backends)}
    if section is not None:
        document = {section: document}
    return read(json.dumps(document, indent=1).encode(), environ=environ, **options)


def notes_of(found):
    return {note.path: note.message for note in found.notes}


def changed(backend, **options):
    return {**backend, "options": {**backend["options"], **options}}


@pytest.mark.parametrize("section", [None, "default"])
def test_each_backend_becomes_a_sink(section):
    sinks = loaded(FILE, HTTP, AMQP, section=section).configuration.sinks

    assert {name: sink.type for name, sink in sinks.items()} == {
        "audit": "file",
        "alarms": "http",
        "amqp": "rabbitmq",
    }
    assert sinks["audit"].bindings == (Binding(verbosity="debug"),)
    assert sinks["audit"].format == KazooFormat()
    assert sinks["alarms"].batch.events == 1


SECTIONS = {
    "_id": "edr",
    "pvt_type": "config",
    "default": {"backends": [FILE]},
    "zone1": {"backends": [HTTP]},
    "apps@a": {"backends": [AMQP]},
    "apps@b": {"other": 1},
}


@pytest.mark.parametrize(
    ("node", "zone", "names"),
    [
        (None, None, ["audit"]),
        ("apps@a", "zone1", ["amqp"]),
        ("apps@b", "zone1", ["alarms"]),
        ("apps@b", None, ["audit"]),
    ],
)
def test_the_section_of_the_node_then_of_its_zone_then_the_default(node, zone, names):
    data = json.dumps(SECTIONS).encode()

    found = read(data, environ=ENVIRON, kazoo_node=node, kazoo_zone=zone)

    assert list(found.configuration.sinks) == names


def test_a_document_without_a_section_for_this_node_is_a_fault():
    with pytest.raises(ConfigurationError, match=r"chosen by --kazoo-node, has 'apps@a'"):
        loaded(FILE, section="apps@a")


def test_kazoo_events_come_through_a_link():
    found = loaded(FILE)

    assert found.configuration.links["kapps"].receive == "wanted"
    assert found.configuration.links["kapps"].url == Secret(env="EDR_AMQP_URL")
    assert "Kazoo's own amqp backend" in notes_of(found)["links.kapps"]


def test_an_amqp_sink_does_not_publish_received_events_again():
    found = loaded(FILE, AMQP)

    assert not found.configuration.sinks["amqp"].enabled
    assert "publish them a second time" in notes_of(found)["backends[1]"]


def test_an_amqp_backend_alone_is_enabled_and_has_no_link():
    found = loaded(AMQP)

    assert found.configuration.sinks["amqp"].enabled
    assert found.configuration.links == {}


def test_options_of_http_are_converted():
    backend = changed(HTTP, method="PUT", headers={"X-Site": 5}, timeout=2500, connect_timeout=1000)
    options = {"include_metadata": "false", "normalize": False, "pretty": True}
    backend = changed(backend, formatter={"type": "json", "options": options})

    sink = loaded(backend).configuration.sinks["alarms"]

    assert (sink.method, sink.headers, sink.timeout) == ("put", {"X-Site": "5"}, 2.5)
    assert sink.connect_timeout == 1
    assert sink.format == KazooFormat(include_metadata=False, normalize=False, pretty=True)


def test_differences_to_kazoo_are_notes():
    binding = {"account_id": "a1", "severity": "ok"}
    backend = {**HTTP, "bindings": [binding]}
    del backend["enabled"]

    found = notes_of(loaded(backend))

    assert "Kazoo ignored it and sent all" in found["backends[0].bindings[0].account_id"]
    assert "Kazoo bound nothing" in found["backends[0].bindings[0]"]


def test_the_notes_of_a_backend_name_what_kazoo_did():
    backend = {key: value for key, value in HTTP.items() if key != "enabled"}

    messages = [note.message for note in loaded(backend).notes]

    assert "enabled is missing and counts as true: Kazoo did not start it" in messages
    assert "events are kept and retried: Kazoo dropped them" in messages


def test_a_fault_has_the_place_in_the_document_of_kazoo():
    text = json.dumps({"default": {"backends": [FILE, changed(HTTP, url="ftp://x")]}}, indent=1)

    with pytest.raises(ConfigurationError) as raised:
        read(text.encode(), environ=ENVIRON)

    [fault] = raised.value.faults
    assert fault.path == "default.backends[1].options.url"
    assert "ftp://x" in text.split("\n")[fault.line - 1]


def test_a_fault_of_the_link_names_the_link():
    with pytest.raises(ConfigurationError) as raised:
        loaded(FILE, environ={})

    assert [fault.path for fault in raised.value.faults] == ["links.kapps.url"]


def test_a_fault_of_a_formatter_option_names_it():
    backend = changed(FILE, formatter={"options": {"normalize": 5}})

    with pytest.raises(ConfigurationError) as raised:
        loaded(backend)

    [fault] = raised.value.faults
    assert fault.path == "backends[0].options.formatter.options.normalize"


def test_a_document_converts_without_its_secrets():
    found = loaded(FILE, environ={}, for_this_machine=False)

    assert "[sinks.audit]" in to_toml(found.configuration)
    assert "EDR_AMQP_URL must be set" in notes_of(found)["links.kapps.url"]


def test_faults_of_all_backends_are_reported():
    with pytest.raises(ConfigurationError) as raised:
        loaded({**FILE, "options": {}}, {**HTTP, "type": "htp"}, 5, {**FILE, "name": ""})

    assert [fault.path for fault in raised.value.faults] == [
        "backends[0].options.path",
        "backends[1].type",
        "backends[2]",
        "backends[3].name",
    ]


def test_a_name_of_kazoo_becomes_a_valid_one():
    found = loaded({**FILE, "name": "Audit File"}, {**HTTP, "name": "9"})

    assert list(found.configuration.sinks) == ["audit-file", "sink-9"]
    assert notes_of(found)["backends[0].name"] == "becomes the sink 'audit-file'"


def test_two_backends_with_one_name_are_a_fault():
    with pytest.raises(ConfigurationError, match="another backend becomes the sink 'audit' too"):
        loaded(FILE, {**HTTP, "name": "Audit"})


def test_a_secret_of_the_document_is_never_shown():
    headers = {"Authorization": "Bearer CANARY"}
    with_header = loaded(changed(HTTP, url="https://b", headers=headers))
    found = loaded(changed(HTTP, url="https://a:CANARY@b"))

    for each in (with_header, found):
        assert "CANARY" not in repr(each) + to_toml(each.configuration)
    assert "EDR_SINKS_ALARMS_URL" in notes_of(found)["backends[0].options.url"]
    assert found.configuration.sinks["alarms"].url.read() == "https://a:CANARY@b"


def test_the_converted_text_is_a_configuration_without_notes(tmp_path):
    found = loaded(FILE, HTTP, AMQP)

    again = read(to_toml(found.configuration).encode(), environ=ENVIRON)

    assert again == (found.configuration, ())


def test_the_example_is_the_converted_document():
    found = load(EXAMPLES / "backends.json", environ=ENVIRON)

    assert to_toml(found, folder=EXAMPLES) == (EXAMPLES / "edr.toml").read_text()


def test_the_example_loads():
    environ = {**ENVIRON, "EDR_SINKS_ALARMS_HEADERS_AUTHORIZATION": "Bearer a"}

    found = load_with_notes(EXAMPLES / "edr.toml", environ=environ)

    assert [name for _, name, _ in found.configuration.parts()] == ["kapps", "audit", "alarms"]
    assert found.notes == ()


@pytest.mark.parametrize("block", BLOCKS)
def test_the_documents_of_the_manual_load(block):
    assert read(block.encode(), environ=ENVIRON).configuration


def test_other_sections_are_noted_only_where_they_exist():
    data = json.dumps(SECTIONS).encode()

    assert "other sections have backends too" in notes_of(read(data, environ=ENVIRON))["default"]
    assert "default" not in notes_of(loaded(FILE, section="default"))


def test_unknown_keys_and_options_are_noted():
    found = notes_of(loaded({**changed(FILE, colour="red"), "extra": 1}))

    assert found["backends[0].options.colour"] == "is not an option of file, and ignored"
    assert found["backends[0].extra"] == "is not a key of a backend, and ignored"


@pytest.mark.parametrize("binding", [{}, {"account_id": "*"}, {"account_id": None}])
def test_a_binding_to_all_accounts_has_no_note(binding):
    found = loaded({**FILE, "bindings": [{**FILE["bindings"][0], **binding}]})

    assert [note.path for note in found.notes] == ["links.kapps"]  # the link


BACKENDS = st.lists(
    VALUES
    | st.builds(lambda backend, key, value: {**backend, key: value}, st.sampled_from([FILE, HTTP]),
                st.sampled_from(["name", "type", "enabled", "options", "bindings"]), VALUES)
    | st.builds(lambda key, value: changed(HTTP, **{key: value}),
                st.sampled_from(["url", "method", "headers", "async", "timeout", "formatter"]),
                VALUES | st.dictionaries(st.sampled_from(["type", "options"]), VALUES)),
    max_size=3,
)  # fmt: skip


@given(BACKENDS | VALUES)
def test_any_backends_load_or_have_faults_with_a_path(backends):
    error = faults_of(json.dumps({"backends": backends}).encode(), environ=ENVIRON)

    assert error is None or is_plain(error)
