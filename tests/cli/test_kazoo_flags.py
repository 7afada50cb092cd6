"""The flags of a Kazoo document: the same for each command that reads a configuration."""

import pytest


@pytest.mark.parametrize("name", ["check", "run"])
async def test_commands_of_a_configuration_have_the_kazoo_flags(command, name):
    shown = await command(name, "--help")

    assert "--kazoo-node" in shown.out
    assert "--kazoo-zone" in shown.out
