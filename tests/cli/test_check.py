import json

import pytest

import edr

VALID = """
[sinks.out]
type = "stdout"
bindings = [{ severity = "warning" }]
"""
KAZOO = {"default": {"backends": [{"name": "f", "type": "file", "options": {"path": "/x"}}]}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edr.app.config.rules.find_spec", lambda _: True)
    monkeypatch.setenv("EDR_AMQP_URL", "amqp://guest:CANARY@broker")
    (tmp_path / "edr.toml").write_text(VALID)
    return tmp_path


async def test_a_valid_file_exits_with_0(folder, command):
    result = await command("check", "edr.toml")

    assert result.code == 0
    assert result.out == ""
    assert result.err == "edr.toml: no fault: 0 sources, 0 links, 1 sink\n"


async def test_the_summary_counts_the_gateway(folder, command):
    (folder / "tokens.jsonl").touch(0o600)
    web = '\n[web]\nlisten = "127.0.0.1:8490"\ntokens_file = "tokens.jsonl"\n'
    (folder / "edr.toml").write_text(VALID + web)

    result = await command("check", "edr.toml")
    assert result.err.endswith("edr.toml: no fault: 0 sources, 0 links, 1 sink, 1 gateway\n")


async def test_faults_are_printed_and_exit_with_78(folder, command):
    (folder / "edr.toml").write_text('[sinks.out]\ntype = "stdot"\n')

    result = await command("check", "edr.toml")

    assert result.code == 78
    assert result.err == (
        "edr.toml: 1 fault, nothing was started\n"
        "  sinks.out.type   line 2   must be stdout, file, http, rabbitmq, amqp or nats, "
        "got 'stdot'; did you mean 'stdout'?\n"
    )


async def test_faults_as_json(folder, command):
    (folder / "edr.toml").write_text("[snks]")

    result = await command("check", "edr.toml", "-o", "json")

    assert result.code == 78
    assert result.records == [
        {
            "is": "fault",
            "file": "edr.toml",
            "path": "snks",
            "line": 1,
            "message": "unknown key; did you mean 'sinks'?",
        }
    ]


async def test_as_toml_prints_a_file_that_is_valid(folder, command):
    result = await command("check", "edr.toml", "--as", "toml")
    (folder / "again.toml").write_text(result.out)

    assert (await command("check", "again.toml", "--as", "toml")).out == result.out


async def test_a_kazoo_document_is_converted_with_notes(folder, command):
    (folder / "edr.json").write_text(json.dumps(KAZOO))

    result = await command("check", "edr.json", "--as", "toml")

    assert "[sinks.f]" in result.out
    assert "Kazoo did not start it" in result.err
    assert "CANARY" not in result.out + result.err


async def test_a_kazoo_document_is_converted_on_another_machine(folder, command, monkeypatch):
    monkeypatch.delenv("EDR_AMQP_URL")
    monkeypatch.setattr("edr.app.config.rules.find_spec", lambda _: None)
    (folder / "edr.json").write_text(json.dumps(KAZOO))

    result = await command("check", "edr.json", "--as", "toml")

    assert result.code == 0
    assert "[sinks.f]" in result.out
    assert "EDR_AMQP_URL must be set" in result.err
    assert "pip install 'edr[rabbitmq]'" in result.err
    assert (await command("check", "edr.json")).code == 78


async def test_the_section_of_a_kazoo_node_is_chosen(folder, command):
    document = {"apps@a": KAZOO["default"], "zone1": {"backends": []}}
    (folder / "edr.json").write_text(json.dumps(document))

    assert (await command("check", "edr.json")).code == 78
    assert (await command("check", "edr.json", "--kazoo-node", "apps@a")).code == 0
    assert (await command("check", "edr.json", "--kazoo-zone", "zone1")).code == 0


async def test_against_a_file_prints_what_each_sink_would_receive(folder, command):
    event = edr.Event(app_name="a", app_version="1", severity="critical", verbosity="info", body={})
    (folder / "events.jsonl").write_bytes(event.to_json())

    text = await command("check", "edr.toml", "--against", "events.jsonl", "-o", "text")
    records = (await command("check", "edr.toml", "--against", "events.jsonl")).records

    assert text.lines == [
        "PART      NOW  NEW  OF  EXAMPLE",
        f"sink out    -    1   1  {event.id} critical info a",
    ]
    assert records[0]["example"]["id"] == event.id


@pytest.mark.parametrize("target", ["no-such-file", "journal", "edr.toml"])
async def test_against_something_else_is_bad_input(folder, command, target):
    result = await command("check", "edr.toml", "--against", target)

    assert result.code == 65
    assert target in result.err or "journal" in result.err


async def test_live_warnings_do_not_change_the_exit_code(folder, command):
    (folder / "edr.toml").write_text('sinks.a = { type = "file", path = "none/a" }')

    result = await command("check", "edr.toml", "--live", "-o", "json")

    assert result.code == 0
    assert result.records[0]["path"] == "sinks.a.path"
