"""What crashes leave: of the process at any write, of the machine's power, of a disk that fills.

They need ``strace``, or the right to mount; without that they are skipped, and say so.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from contracts.journal import all_of, event, events, numbers

from edr.journal import JournalFiles, JournalFullError, JournalUnusableError, SqliteJournal
from edr.journal.selection import Selection

pytestmark = pytest.mark.slow  # many are processes that die

HAS_STRACE = shutil.which("strace") is not None
strace = pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")

STRACE = ["strace", "-qq", "-o", "/dev/null"]

APPENDING = """
import os, sys, time
from pathlib import Path
from contracts.journal import events
from edr.journal import schema
from edr.journal.retention import Limits
from edr.journal.store import BlockStore

schema.CHECKPOINT = 8
path, sync = Path(sys.argv[1]), sys.argv[2]
store = BlockStore(path, Limits(max_bytes=1 << 17), full_sync=sync == "disk",
                   now=lambda: time.time_ns() // 1000, report=print)
store.open()
for n in range(0, 300, 10):
    appended = store.append(events(*range(n, n + 10), body={"pad": os.urandom(150).hex()}))
    os.write(1, f"stored {appended.first} {n}\\n".encode())
store.close()
"""


def appending(path, sync, *before):
    """Run the program above under ``before``; return what it said it had stored."""
    tests = Path(__file__).parents[1].as_posix()
    done = subprocess.run(
        [*before, sys.executable, "-c", APPENDING, path, sync],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": tests},
    )
    lines = done.stdout.decode().splitlines()
    return [tuple(map(int, line.split()[1:])) for line in lines], done


def check(store, acknowledged, *, lost=False):
    """Hold what is in ``store`` against what had been acknowledged: positions and numbers."""
    entries, last = {}, 0
    after = 0
    while True:
        fetched = store.read(lambda disk, at=after: disk.fetch(Selection(()), at))
        for each in fetched.items:
            if hasattr(each, "event"):
                entries[each.position] = each.event.body["n"]
        if fetched.position == after:
            break
        after = fetched.position
    for first, n in acknowledged:
        last = max(last, first + 9)
        for i in range(10):
            if first + i >= store.first and not lost:
                assert entries[first + i] == n + i
            assert entries.get(first + i, n + i) == n + i
    given = store.append(events(-1)).first
    assert given > last
    return entries


@strace
@pytest.mark.parametrize(
    ("call", "calls"),
    [("pwrite64", [1, 5, 9, 45, 77, 110]), ("fdatasync", [1, 2, 3, 7, 20]), ("ftruncate", [1, 2])],
)
@pytest.mark.timeout(200)
def test_a_process_killed_at_any_write_loses_nothing(make_store, tmp_path, call, calls):
    died = 0
    for when in calls:
        path = tmp_path / f"{call}{when}"
        inject = f"inject={call}:signal=KILL:when={when}"
        acknowledged, done = appending(path, "disk", *STRACE, "-e", f"trace={call}", "-e", inject)
        if done.returncode and b"ptrace" in done.stderr:
            pytest.skip("strace may not trace here")
        died += len(acknowledged) < 30
        if path.exists():
            check(make_store(path), acknowledged)

    assert died or call == "ftruncate"


@strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_an_error_of_the_disk_is_told_and_nothing_that_was_stored_is_lost(
    make_store, tmp_path, error
):
    path = tmp_path / "journal"
    inject = f"inject=fdatasync:error={error}:when=30"
    acknowledged, done = appending(path, "disk", *STRACE, "-e", "trace=fdatasync", "-e", inject)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")

    assert done.returncode
    assert b"JournalError" in done.stderr or b"JournalFullError" in done.stderr
    assert 0 < len(acknowledged) < 30
    check(make_store(path), acknowledged)


# The loss of power


class Power:
    """Files whose unsynced writes are lost, reordered and torn when the power goes.

    What was written before the last sync of its file is there. Of what came behind it any part
    may be, in any order, and of a write any of its sectors.
    """

    SECTOR = 512

    def __init__(self):
        self.durable = {}
        self.pending = {}

    def write(self, file, offset, data):
        self.pending.setdefault(file, []).append((offset, data))

    def truncate(self, file, size):
        self.pending.setdefault(file, []).append((size, None))

    def rename(self, file, to):
        """The folder is synced behind it, and nothing is acknowledged in between."""
        for files in (self.durable, self.pending):
            files.pop(to, None)
            if file in files:
                files[to] = files.pop(file)

    def sync(self, file):
        self.durable[file] = self._with(file, self.pending.pop(file, []))

    def _with(self, file, changes):
        content = bytearray(self.durable.get(file, b""))
        for offset, data in changes:
            if data is None:
                del content[offset:]
                content.extend(bytes(offset - len(content)))
            else:
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
        return bytes(content)

    def fail(self, folder, rng):
        folder.mkdir()
        for file in {*self.durable, *self.pending}:
            changes = []
            for offset, data in self.pending.get(file, []):
                if data is None:
                    changes += [(offset, None)] * rng.choice([0, 1])
                    continue
                for start in range(0, len(data), self.SECTOR):
                    if rng.random() < self.survive:
                        changes.append((offset + start, data[start : start + self.SECTOR]))
            rng.shuffle(changes)
            (folder / file).write_bytes(self._with(file, changes))

    survive = 0.5


CALL = re.compile(
    r'^(\w+)\(\d+<([^>]*)>(?:, (?:"([^"]*)"(\.\.\.)?|(\d+)))?(?:, (\d+))?(?:, (\d+))?'
)


def unhexed(text):
    return bytes.fromhex(text.replace("\\x", ""))


def steps_in(trace):
    """Yield what a program did to its files, and said, in order."""
    for line in trace.read_text().splitlines():
        if line.startswith("rename("):
            names = [
                unhexed(each).decode().rpartition("/")[2] for each in re.findall('"(.*?)"', line)
            ]
            yield ("rename", *names)
        match = CALL.match(line)
        if match is None or " = -1" in line:
            continue
        call, path, data, cut, number, _, offset = match.groups()
        assert not cut, "strace shortened what was written"
        file = unhexed(path).decode().rpartition("/")[2]
        content = unhexed(data or "")
        if call == "write" and content.startswith(b"stored "):
            yield ("said", tuple(map(int, content.split()[1:])))
        elif call == "pwrite64":
            yield ("write", file, int(offset), content)
        elif call == "ftruncate":
            yield ("truncate", file, int(number))
        elif call in {"fsync", "fdatasync"}:
            yield ("sync", file)


@strace
@pytest.mark.parametrize("sync", ["disk", "process"])
@pytest.mark.timeout(120)
def test_the_loss_of_power_loses_what_it_may_and_no_position_is_given_twice(
    make_store, tmp_path, sync
):
    trace = tmp_path / "trace"
    calls = "write,pwrite64,ftruncate,fsync,fdatasync,rename"
    acknowledged, done = appending(
        tmp_path / "journal",
        sync,
        *("strace", "-qq", "-y", "-xx", "-s", "100000", "-o", trace, "-e", f"trace={calls}"),
    )
    if not trace.exists() or not trace.stat().st_size:
        pytest.skip(f"strace may not trace here: {done.stderr!r}")
    steps = list(steps_in(trace))
    assert sum(step[0] == "said" for step in steps) == len(acknowledged) == 30
    assert sum(step[0] == "sync" for step in steps) > (30 if sync == "disk" else 3)
    rng = random.Random(1)
    for n, end in enumerate(sorted(rng.sample(range(len(steps) + 1), 40))):
        power, said = Power(), []
        for step in steps[:end]:
            if step[0] == "said":
                said.append(step[1])
            else:
                getattr(power, step[0])(*step[1:])
        power.survive = rng.choice([0.0, 0.5, 0.9])
        folder = tmp_path / f"after{n}"
        power.fail(folder, rng)
        if "journal.sqlite3" not in power.durable:
            continue  # the folder itself may be lost
        store = make_store(folder)
        check(store, said, lost=sync == "process")
        store.close()


# Real disks


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB, and how to mount it anew."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", disk]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if os.geteuid() or not mount("size=4m"):
        pytest.skip("a disk cannot be mounted here")
    yield disk, mount
    subprocess.run(["umount", "-l", disk], check=True)  # noqa: S607


async def test_a_disk_that_is_full_and_has_room_again(small_disk, caplog):
    disk, _ = small_disk
    ballast = disk / "ballast"
    async with SqliteJournal(disk / "journal") as journal:
        await journal.append(event(0))
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        stored = 1
        with pytest.raises(JournalFullError):
            while True:
                await journal.append(event(stored, body={"pad": os.urandom(3000).hex()}))
                stored += 1
        assert len(await all_of(journal)) == stored
        ballast.unlink()
        await until_stored(journal)
        await journal.append(event(-1))
        entries = await all_of(journal)

    assert numbers(entries) == [*range(stored + 1), -1]


def fill(disk, free=0):
    """Leave so many pages of ``disk`` free; return the file that takes the others."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        size = file.tell() // 4096 * 4096
        file.truncate(max(0, size - free * 4096))
    return ballast


async def until_stored(journal):
    """Wait for the journal's own next attempt; one that began on the full disk may still fail."""
    while journal.statistics().waiting:
        await asyncio.sleep(0.01)


def padded(n):
    return event(n, body={"pad": os.urandom(3000).hex()})


@pytest.mark.parametrize("free", [0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40])
async def test_journal_on_a_full_disk_starts_and_recovers(small_disk, free, monkeypatch):
    """Wherever in a commit: what is acknowledged is read, and what is accepted stays."""
    monkeypatch.setattr("edr.journal.appender.MAX_PAUSE", 0.1)
    disk, _ = small_disk
    async with SqliteJournal(disk / "journal", max_bytes=1 << 20) as journal:
        await journal.append(*events(*range(20)))
        async with await journal.consumer("r") as consumer:
            consumer.ack(await anext(consumer))
    ballast = fill(disk, free)
    async with SqliteJournal(disk / "journal", max_bytes=1 << 20) as journal:
        stored, refused = list(range(20)), 0
        for n in range(20, 40):
            try:
                await journal.append(padded(n))
                stored.append(n)
            except JournalFullError:
                refused += 1
        assert refused
        assert set(stored) <= set(numbers(await all_of(journal)))
        consumer = await journal.consumer("r")
        assert (await anext(consumer)).event.body["n"] == 1
        ballast.unlink()
        await until_stored(journal)
        await journal.append(event(40))
        assert journal.statistics().error is None
        assert numbers(await all_of(journal)) == list(range(41))
    async with SqliteJournal(disk / "journal") as journal:
        assert numbers(await all_of(journal)) == list(range(41))


DYING = """
import asyncio, os, sys
from contextlib import suppress
from contracts.journal import event
from edr.journal import JournalFullError, SqliteJournal

async def main():
    journal = SqliteJournal(sys.argv[1])
    with suppress(JournalFullError):
        for n in range(10_000):
            await journal.append(event(n, body={"pad": os.urandom(3000).hex()}))
            os.write(1, b"%d\\n" % n)
    os._exit(1)

asyncio.run(main())
"""


@pytest.fixture
def died(small_disk):
    """What a journal had stored whose process died on a full disk."""
    disk, _ = small_disk
    fill(disk, 300)
    tests = Path(__file__).parents[1].as_posix()
    done = subprocess.run(
        [sys.executable, "-c", DYING, disk / "journal"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": tests},
    )
    return [int(line) for line in done.stdout.split()]


async def test_journal_that_died_on_a_full_disk_can_be_read_there(small_disk, died):
    disk, _ = small_disk
    ballast = fill(disk)
    async with SqliteJournal(disk / "journal") as journal:
        found = numbers(await all_of(journal))
        with pytest.raises(JournalFullError):
            while True:
                await journal.append(padded(-1))
        ballast.unlink()
        await until_stored(journal)
        await journal.append(event(-2))
        left = [n for n in numbers(await all_of(journal)) if n >= 0]

    assert died
    assert found[: len(died)] == died
    assert left == found


async def test_a_new_journal_on_a_full_disk_says_so(small_disk):
    disk, _ = small_disk
    ballast = fill(disk)
    with pytest.raises(JournalFullError, match="free some space"):
        await SqliteJournal(disk / "journal").open()
    ballast.unlink()
    async with SqliteJournal(disk / "journal") as journal:
        await journal.append(event(1))


def test_a_disk_that_is_read_only_is_refused_and_can_be_looked_into(small_disk, make_store):
    disk, mount = small_disk
    store = make_store(disk / "journal")
    store.append(events(1, 2, 3))
    store.close()
    assert mount("remount", "ro")
    with pytest.raises(JournalUnusableError, match="edr journal read"):
        make_store(disk / "journal")
    with pytest.raises(JournalUnusableError):
        make_store(disk / "another")

    with JournalFiles(disk / "journal") as files:
        assert len(list(files.entries())) == 3
