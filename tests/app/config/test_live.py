import asyncio
import os

from edr.app.config import Secrets, blocking_consumers, consumers_without_part, live_faults, read
from edr.journal import SqliteJournal


def configuration(text, folder):
    return read(text.encode(), folder=folder, environ=ENVIRON).configuration


ENVIRON = {"HOOK": "http://user:CANARY@127.0.0.1:1/CANARY"}


async def faults_of(text, folder):
    found = await live_faults(configuration(text, folder), Secrets(ENVIRON))
    return {note.path: note.message for note in found}


async def test_a_peer_that_listens_is_no_fault(tmp_path):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async with server:
        found = await faults_of(
            f'sinks.a = {{ type = "http", url = "http://127.0.0.1:{port}" }}', tmp_path
        )

    assert found == {}


async def test_a_closed_port_is_named_without_the_secret(tmp_path):
    found = await faults_of('sinks.a = { type = "http", url = { env = "HOOK" } }', tmp_path)

    assert found == {
        "sinks.a.url": "port 1 of the host cannot be reached: Connection refused",
    }


async def test_a_missing_folder_and_a_symlink_are_named(tmp_path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "other.jsonl")
    (tmp_path / "other.jsonl").touch()
    text = """
        sinks.a = { type = "file", path = "none/a.jsonl" }
        sinks.b = { type = "file", path = "link.jsonl" }
        sinks.c = { type = "file", path = "c.jsonl" }
    """

    found = await faults_of(text, tmp_path)

    assert found["sinks.a.path"] == f"the folder {tmp_path}/none does not exist"
    assert "cannot be opened" in found["sinks.b.path"]
    assert set(found) == {"sinks.a.path", "sinks.b.path"}
    assert not (tmp_path / "c.jsonl").exists()


async def test_a_folder_that_is_not_writable_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere

    found = await faults_of('sinks.a = { type = "file", path = "a.jsonl" }', tmp_path)

    assert set(found) == {"app.data_dir", "sinks.a.path"}


async def test_a_consumer_without_a_part_is_named(tmp_path):
    (tmp_path / "edr-data").mkdir()
    async with SqliteJournal(tmp_path / "edr-data" / "journal") as journal:
        for name in ("sink:a", "sink:old"):
            await (await journal.consumer(name)).aclose()
        text = 'sinks.a = { type = "stdout", enabled = false }'
        found = configuration(text, tmp_path)

        assert consumers_without_part(found) == ["sink:old"]
        assert "'sink:old' has no part" in (await faults_of(text, tmp_path))["journal"]


async def test_a_blocking_consumer_is_named_with_the_command(tmp_path):
    (tmp_path / "edr-data").mkdir()
    folder = tmp_path / "edr-data" / "journal"
    async with SqliteJournal(folder) as journal:
        for name in ("sink:a", "link:b", "old"):
            await (await journal.consumer(name)).aclose()
    text = """
        sinks.a = { type = "stdout", enabled = false }
        sinks.b = { type = "nats", url = "nats://a" }
    """

    found = blocking_consumers(configuration('journal.full = "block"\n' + text, tmp_path))

    commands = [note.message.partition("remove it with: ")[2] for note in found]
    assert sorted(commands) == [f"edr journal forget {folder} {name}" for name in ("old", "sink:a")]
    assert blocking_consumers(configuration(text, tmp_path)) == ()


def test_a_journal_that_does_not_exist_has_no_consumers(tmp_path):
    assert consumers_without_part(configuration("", tmp_path)) == []


async def test_a_fifo_in_place_of_a_file_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "out")
    found = await faults_of('sinks.a = { type = "file", path = "out" }', tmp_path)

    assert "sinks.a.path" in found
