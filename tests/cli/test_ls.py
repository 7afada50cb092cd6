import os
import re
import socket

import edr
import edr.control


async def test_ls_lists_each_process(bus, exposed, command):
    async with edr.Bus() as other, edr.control.expose(other, name="audit"):
        result = await command("ls")

    assert [each["name"] for each in result.records] == ["audit", "calls-api"]
    assert result.records[1]["pid"] == os.getpid()
    assert result.records[1]["path"] == str(exposed.path)


async def test_ls_prints_a_table(exposed, command):
    result = await command("ls", "-o", "text")

    assert result.lines[0].split() == ["NAME", "PID", "UP", "SOCKET"]
    assert re.fullmatch(rf"calls-api +{os.getpid()} +[\d.]+ m?s +.*\.sock", result.lines[1])


async def test_ls_removes_the_socket_of_an_ended_process(exposed, command):
    stale = exposed.path.with_name("gone.1.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    result = await command("ls")

    assert [each["name"] for each in result.records] == ["calls-api"]
    assert not stale.exists()


async def test_ls_without_a_process_explains_how_to_expose_one(command):
    result = await command("ls")

    assert (result.code, result.out) == (0, "")
    assert "await edr.control.expose()" in result.err


async def test_folder_that_others_may_enter_is_not_permitted(command, runtime_folder):
    runtime_folder.mkdir(mode=0o755)
    runtime_folder.chmod(0o755)
    result = await command("ls")

    assert result.code == 77
    assert "must have mode 0700, got 0755" in result.err
