import asyncio
import os
import socket

import pytest

import edr
import edr.control
from edr.cli.exits import CommandError, Exit
from edr.cli.process import attach, locate
from edr.control import ConnectionLostError


@pytest.fixture
def listening(runtime_folder):
    """Make sockets that accept connections, of processes with these names."""
    runtime_folder.mkdir(mode=0o700)
    listeners = []

    def listen(*names):
        for name in names:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(runtime_folder / f"{name}.sock"))
            listener.listen()
            listeners.append(listener)

    yield listen
    for listener in listeners:
        listener.close()


def located(name):
    return locate(name).name.removesuffix(".sock")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("calls", "calls.11"),
        ("calls-api", "calls-api.12"),
        ("calls-api.12", "calls-api.12"),
        ("12", "calls-api.12"),
        ("au", "audit.13"),
        ("calls-", "calls-api.12"),
        ("audit.1", "audit.13"),
    ],
)
def test_name_means_a_process(listening, name, meant):
    listening("calls.11", "calls-api.12", "audit.13")

    assert located(name) == meant


def test_path_means_itself(tmp_path):
    assert locate(str(tmp_path / "any.sock")) == tmp_path / "any.sock"


def test_the_only_process_needs_no_name(listening):
    listening("audit.13")

    assert located(None) == "audit.13"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "several processes are exposed; name one of them:\n  audit.1\n  calls.2\n  calls.3"),
        ("calls", "'calls' is not unique; name one of them:\n  calls.2\n  calls.3"),
        ("c", "'c' is not unique; name one of them:\n  calls.2\n  calls.3"),
    ],
)
def test_name_of_several_processes_is_a_usage_error(listening, name, reason):
    listening("calls.3", "audit.1", "calls.2")

    with pytest.raises(CommandError) as raised:
        locate(name)
    assert (str(raised.value), raised.value.exit) == (reason, Exit.USAGE)


def test_long_list_of_processes_is_cut(listening):
    listening(*[f"a{n}.1" for n in range(25)])

    with pytest.raises(CommandError) as raised:
        locate("a")
    assert str(raised.value).count("\n") == 21
    assert str(raised.value).endswith("\n  and 5 more")


def test_unknown_name_is_unavailable(listening):
    listening("calls-api.1")

    with pytest.raises(CommandError) as raised:
        locate("cals-api")
    assert raised.value.exit is Exit.UNAVAILABLE
    assert str(raised.value) == (
        "no process 'cals-api' is exposed; did you mean 'calls-api'?; edr ls lists them"
    )


def test_without_a_process_the_error_says_how_to_expose_one():
    with pytest.raises(CommandError, match=r"await edr\.control\.expose\(\)") as raised:
        locate(None)
    assert raised.value.exit is Exit.UNAVAILABLE


async def test_attach_connects_to_the_process(exposed):
    async with attach("calls") as client:
        assert client.hello["pid"] == os.getpid()


async def test_attach_to_a_missing_socket_is_a_lost_connection(tmp_path):
    with pytest.raises(ConnectionLostError):
        async with attach(str(tmp_path / "none.sock")):
            pass


async def test_socket_of_another_user_is_not_permitted(monkeypatch, tmp_path):
    async def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", refused)

    with pytest.raises(CommandError, match="belongs to another user") as raised:
        async with attach(str(tmp_path / "other.sock")):
            pass
    assert raised.value.exit is Exit.NOT_PERMITTED


async def test_kind_distinguishes_a_part_from_a_subscription(bus, command):
    class Sink:
        name = "board"
        kind = "sink"
        bindings = (edr.Binding(app_name="b"),)

        def status(self):
            return {}

    async with (
        edr.control.expose(bus, name="parts", parts=[Sink()]),
        bus.subscribe(app_name="a", name="board"),
    ):
        by_name = await command("tail", "--binding", "@board", "--print-binding")
        by_kind = await command("tail", "--binding", "@sink board", "--print-binding")

    assert edr.bindings_from_json(by_name.out).app_name == "a"
    assert edr.bindings_from_json(by_kind.out).app_name == "b"
