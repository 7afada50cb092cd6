"""edr run: its arguments. The program itself is tested in tests/app."""

import pytest

from edr.app import program
from edr.cli.exits import Exit


async def test_run_without_a_configuration_explains_itself(command):
    result = await command("run")

    assert result.code == Exit.USAGE
    assert "edr init edr.toml" in result.err


async def test_run_refuses_a_folder(command, tmp_path):
    result = await command("run", str(tmp_path))

    assert result.code == Exit.USAGE
    assert "must be a file" in result.err


@pytest.mark.parametrize(("flags", "watch"), [([], False), (["--watch"], True)])
async def test_run_returns_the_exit_code_of_the_program(
    command, tmp_path, monkeypatch, flags, watch
):
    calls = []

    def run_program(path, *, watch, kazoo_node, kazoo_zone):
        assert (kazoo_node, kazoo_zone) == (None, None)
        calls.append((path, watch))
        return 75

    monkeypatch.setattr(program, "run_program", run_program)
    result = await command("run", str(tmp_path / "edr.toml"), *flags)

    assert result.code == Exit.UNFINISHED
    assert calls == [(tmp_path / "edr.toml", watch)]
