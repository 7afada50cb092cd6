import json
import re
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.documents import ANY_DOCUMENT, ENVIRON, FULL, VALUES
from edr import Binding
from edr.app.config import ConfigurationError, load, read

BROKEN = Path(__file__).parent / "broken"
PYDANTIC = re.compile(
    r"Input should|Field required|Extra inputs|validation error|Value error|valid (dict|list|tuple)"
    r"|type=|pydantic|union_tag|discriminator|is not valid, got"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alarms.token").write_text("Bearer CANARY\n")
    return tmp_path


@pytest.mark.parametrize(
    "document", sorted(BROKEN.glob("*.[tj][os][mo][ln]")), ids=lambda path: path.name
)
def test_a_broken_document_has_this_report(document, folder):
    (folder / document.name).write_bytes(document.read_bytes())

    with pytest.raises(ConfigurationError) as raised:
        load(document.name, environ={"EDR_TEST_CANARY": "CANARY"})

    report = str(raised.value).replace(str(folder), "FOLDER") + "\n"
    assert report == document.with_suffix(".txt").read_text()
    assert "CANARY" not in report.replace("EDR_TEST_CANARY", "")


def test_there_are_eleven_broken_documents():
    assert len(list(BROKEN.glob("*.txt"))) == 11


def test_load_returns_the_whole_file(folder):
    (folder / "edr.toml").write_text(FULL)

    found = load("edr.toml", environ=ENVIRON)

    assert found.app.data_dir == folder / "data"
    assert found.journal.max_age == 7 * 86400
    assert found.sinks["audit"].bindings == (Binding(verbosity="trace"),)
    assert found.sinks["audit"].rotate.size == 100 * 1024**2
    assert found.sinks["alarms"].retry.give_up_after == 3 * 86400
    assert found.links["kapps"].send == ()


def test_equal_files_are_equal_part_by_part(folder):
    (folder / "a.toml").write_text(FULL)
    (folder / "b.toml").write_text(FULL.replace('"7d"', "604800").replace("100 MiB", "102400 KiB"))
    (folder / "c.toml").write_text(FULL.replace("keep = 10", "keep = 11"))

    a, b, c = (load(name, environ=ENVIRON) for name in ("a.toml", "b.toml", "c.toml"))

    assert a == b
    assert a.sinks["audit"] != c.sinks["audit"]
    assert a.sinks["alarms"] == c.sinks["alarms"]


def test_json_has_the_same_meaning(folder):
    document = {"sinks": {"out": {"type": "stdout", "format": "text"}}}

    from_json = read(json.dumps(document).encode()).configuration

    assert from_json == read(b'[sinks.out]\ntype = "stdout"\nformat = "text"\n').configuration


def test_no_secret_is_shown(folder):
    (folder / "edr.toml").write_text(FULL)

    found = load("edr.toml", environ=ENVIRON)

    assert "CANARY" not in repr(found) + str(found) + found.model_dump_json()


def test_a_missing_file_is_a_fault(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_rules_are_checked_for_the_parts_without_faults():
    with pytest.raises(ConfigurationError) as raised:
        read(b"""
            sinks.a = { type = "file", path = "x", mode = 1 }
            sinks.b = { type = "file", path = "y" }
            sinks.c = { type = "file", path = "y" }
            app.ready_requires = ["a"]
        """)

    assert [fault.path for fault in raised.value.faults] == ["sinks.a.mode", "sinks.c.path"]


def test_a_fault_in_app_does_not_hide_faults_of_its_other_keys():
    with pytest.raises(ConfigurationError) as raised:
        read(b"""
            app = { ready_requires = ["b"], shutdown_timeout = "soon" }
            sinks.a = { type = "file", path = "x" }
        """)

    places = [fault.path for fault in raised.value.faults]
    assert places == ["app.shutdown_timeout", "app.ready_requires[0]"]


def test_a_likely_mistake_in_a_pattern_is_a_note():
    text = 'sinks.a = { type = "stdout", bindings = [{ body = { "a.b" = [3] } }] }'

    [note] = read(text.encode()).notes

    assert note.path == "sinks.a.bindings[0]"
    assert note.line == 1


def test_a_configuration_without_parts_is_noted():
    assert [note.message for note in read(b"").notes] == ["no source, link or sink is enabled"]


def faults_of(data, environ=MappingProxyType({})):
    try:
        read(data, environ=environ)
    except ConfigurationError as error:
        return error
    return None


def is_plain(error):
    """Whether the report has a place for each fault, one line each, and no words of Pydantic."""
    text = str(error)
    unsafe = [c for c in text if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    return (
        not unsafe
        and not PYDANTIC.search(text)
        and text.encode()
        and len(set(error.faults)) == len(error.faults) > 0
        and text.count("\n") == min(len(error.faults), 50) + (len(error.faults) > 50)
    )


@given(ANY_DOCUMENT)
def test_any_document_loads_or_has_faults_with_a_path(document):
    error = faults_of(json.dumps(document).encode())

    assert error is None or is_plain(error)
    assert error is None or all(fault.path and fault.line for fault in error.faults)


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        section: st.dictionaries(
            st.sampled_from(["a", "b"]),
            st.dictionaries(
                st.sampled_from(
                    ["path", "url", "bindings", "format", "batch", "retry", "headers", "sign"]
                ),
                VALUES,
            ).flatmap(
                lambda table: st.sampled_from(
                    ["file", "http", "stdout", "rabbitmq", "nats", "socket", "jetstream"]
                ).map(lambda kind: {**table, "type": kind})
            ),
        )
        for section in ("sources", "links", "sinks")
    },
)


@given(SECTIONS)
def test_any_parts_load_or_have_faults_with_a_path(document):
    error = faults_of(json.dumps(document).encode())

    assert error is None or is_plain(error)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_load_or_have_faults(data):
    error = faults_of(data)

    assert error is None or is_plain(error)


@given(st.integers(0, len(FULL)), st.integers(0, 60), st.text(max_size=3))
def test_a_damaged_file_loads_or_has_faults(start, length, text):
    damaged = FULL[:start] + text + FULL[start + length :]

    error = faults_of(damaged.encode("utf-8", "surrogatepass"))

    assert error is None or is_plain(error)


def test_a_loop_of_links_does_not_stop_the_check(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    text = f'sinks.a = {{ type = "file", path = "{tmp_path}/loop" }}'

    assert read(text.encode()).configuration.sinks["a"].path == tmp_path / "loop"


def test_the_journal_stores_the_events_of_sinks_and_the_gateway():
    text = (
        "web.authenticate = 'a:b'\nsinks.a = { type = 'stdout', bindings = [{ app_name = 'x' }] }"
    )
    found = read(text.encode()).configuration.stored_bindings()

    assert set(found) == {Binding(), Binding(app_name="x")}
