"""edr reload: the outcome of a reload in the process."""

import pytest

import edr.control
from edr.cli.exits import Exit


@pytest.fixture
def reloading(bus):
    """Expose a bus whose reload returns or raises ``outcome``."""

    def expose(outcome):
        async def reload():
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return edr.control.expose(bus, name="edr", allow={"reload"}, reload=reload)

    return expose


async def test_reload_prints_the_changed_parts(command, reloading):
    async with reloading({"changed": ["sink audit rebound"], "failed": []}):
        text = await command("reload", "edr", "-o", "text")
        json = await command("reload", "edr")

    assert (text.code, text.out) == (Exit.DONE, "sink audit rebound\n")
    assert json.records == [{"changed": ["sink audit rebound"], "failed": []}]


async def test_reload_without_a_change_says_so(command, reloading):
    async with reloading({"changed": [], "failed": []}):
        result = await command("reload", "edr", "-o", "text")

    assert result.out == "nothing has changed\n"


async def test_reload_exits_with_1_if_a_part_could_not_be_changed(command, reloading):
    async with reloading({"changed": [], "failed": ["sink audit: no disk"]}):
        result = await command("reload", "edr", "-o", "text")

    assert result.code == Exit.NO
    assert "failed: sink audit: no disk" in result.out


async def test_reload_prints_warnings(command, reloading):
    outcome = {"changed": ["sink audit removed"], "failed": [], "warnings": ["a consumer is left"]}
    async with reloading(outcome):
        result = await command("reload", "edr", "-o", "text")

    assert result.code == Exit.DONE
    assert result.out == "sink audit removed\nwarning: a consumer is left\n"


async def test_reload_exits_with_78_if_the_file_has_faults(command, reloading):
    async with reloading(ValueError("edr.toml: 1 fault")):
        result = await command("reload", "edr")

    assert result.code == Exit.CONFIGURATION
    assert result.err == "edr: edr.toml: 1 fault\n"


async def test_reload_must_be_permitted(command, exposed):
    assert (await command("reload", "calls-api")).code == Exit.NOT_PERMITTED
