import json

import pytest

import edr
from edr.app.config import load
from edr.cli.init import EVENT


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("source", ["socket", "stdin"])
async def test_the_file_is_a_valid_configuration(command, folder, source):
    result = await command("init", "--source", source)

    found = load("edr.toml")
    assert result.code == 0
    assert found.sources["in"].type == source
    assert found.sinks["file"].path == folder / "events.jsonl"
    assert found.app.data_dir == folder / "edr-data"


async def test_the_next_step_has_a_valid_event(command):
    result = await command("init", "first.toml")

    assert EVENT in result.err
    assert "edr run first.toml" in result.err
    assert edr.Event(**json.loads(EVENT)).body == {"hello": 1}


async def test_the_suggested_command_is_permitted(command):
    result = await command("init")

    assert "edr emit edr -a demo" in result.err
    assert "emit" in load("edr.toml").control.allow


async def test_an_existing_file_is_not_changed(command, folder):
    (folder / "edr.toml").write_text("mine")

    result = await command("init")

    assert result.code == 65
    assert "exists and was not changed" in result.err
    assert (folder / "edr.toml").read_text() == "mine"


async def test_a_file_that_cannot_be_written_is_an_error(command):
    result = await command("init", "none/edr.toml")

    assert result.code == 65
    assert "none/edr.toml: No such file or directory" in result.err
