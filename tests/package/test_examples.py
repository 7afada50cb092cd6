import importlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

import edr

pytestmark = pytest.mark.slow  # each is a process of its own


EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["a", "b", "*", "#", "a.b", "a b", ">", "[x]", "line\nfeed", "späti", "日本", "x=y", "-"]
LOSS = (
    r"^subscription 'archive' dropped an event|"
    r"^events were dropped since the last line: 'archive' \d+ |"
    r"^<Bus .*> was drained, with events left undone: 'archive' \d+$"
)
PATIENCE = 100
"""Seconds that a program of a second or two may take, on a machine that is very busy."""

WITHOUT_RICH = """
import runpy, sys
sys.modules["rich"] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
import _display
assert not _display.HAS_RICH
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(example, *args, before=()):
    command = [sys.executable, *before, (EXAMPLES / example).as_posix(), *map(str, args)]
    env = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False, env=env
    )


def table_of(output):
    """Return the rows of the plain table in ``output``, by what stands in their first column."""
    lines = output.splitlines()
    under = next(number for number, line in enumerate(lines) if line.startswith("--"))
    spans = [match.span() for match in re.finditer("-+", lines[under])]
    head, *rows = ([line[i:j].strip() for i, j in spans] for line in lines[under - 1 :])
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows if row[1].isdigit()}


def beside_losses(errors):
    """Return what is said on stderr beside that the call centre's slow archive loses events."""
    return [line for line in errors.splitlines() if not re.search(LOSS, line)]


def received(output):
    return {name: int(row["received"]) for name, row in table_of(output).items()}


def some_event(rng):
    """Return an event as files have it: without id and node, now and then without a default."""
    path = rng.sample(NAMES, rng.randrange(5))
    event = {
        "account_id": path.pop() if path else None,
        "account_tree": path,
        "app_name": rng.choice(NAMES),
        "app_version": "1",
        "severity": rng.choice(list(edr.Severity)),
        "verbosity": rng.choice(list(edr.Verbosity)),
        "body": {"n": rng.random(), rng.choice(NAMES): rng.choice(NAMES)},
    }
    if not event["account_tree"] and rng.random() < 0.5:
        del event["account_tree"]
    return event


def some_binding(rng):
    def one_or_some(names):
        return rng.choice([rng.choice(names), rng.sample(names, rng.randint(1, 3))])

    fields = {
        "account_id": one_or_some(NAMES),
        "app_name": one_or_some(NAMES),
        "include_descendants": rng.random() < 0.5,
        "severity": one_or_some(list(edr.Severity)),
        "exact_severity": rng.random() < 0.5,
        "verbosity": one_or_some(list(edr.Verbosity)),
        "exact_verbosity": rng.random() < 0.3,
    }
    return {name: value for name, value in fields.items() if rng.random() < 0.4}


def write_events(path, events):
    # Half of the characters beyond ASCII as they are, half escaped.
    lines = [json.dumps(event, ensure_ascii=n % 2 == 0) for n, event in enumerate(events)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def matching(bindings, events):
    """Count, in a plain loop, the events that any of ``bindings`` matches."""
    bindings = edr.bindings_from_json(bindings if isinstance(bindings, list) else [bindings])
    events = [edr.Event.model_validate(event) for event in events]
    return sum(any(binding.matches(event) for binding in bindings) for event in events)


@pytest.fixture
def good(tmp_path):
    rng = random.Random("good")
    return write_events(tmp_path / "good.jsonl", [some_event(rng) for _ in range(20)])


@pytest.fixture
def ctrl_c_works():
    """Undo what a shell does to its background jobs, whose children all ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_sample_has_only_events_and_is_what_the_readme_replays():
    sample = (EXAMPLES / "events.jsonl").as_posix()

    done = run("replay.py", "--binding", 'bad={"severity": "warning"}', sample)

    assert (done.returncode, done.stderr) == (0, "")
    assert table_of(done.stdout)["bad"]["received"] == "5"
    assert "16 events published, 0 bad lines" in done.stdout


# The call centre


def test_the_call_centre_accounts_for_every_event():
    done = run("call_center.py", "--seconds", 1, "--plain", "--seed", 1)
    table = table_of(done.stdout)

    assert (done.returncode, beside_losses(done.stderr)) == (0, [])
    assert "subscription 'archive' dropped an event (overflow)" in done.stderr
    assert len(table) == 7
    for row in table.values():
        dropped = sum(int(number) for number in re.findall(r"\d+", row["dropped"]))
        assert int(row["offered"]) == int(row["delivered"]) + dropped + int(row["pending"])
        assert row["sum"] == "right"
    assert int(table["screen"]["offered"]) == int(table["screen"]["delivered"]) > 0
    assert "overflow" in table["archive"]["dropped"]
    assert '  pager      {"severity":"warning"}; block at 1024\n' in done.stdout
    assert re.search(
        r"^archive lost \d+ of \d+: it takes 4 events a second, has", done.stdout, re.MULTILINE
    )


def test_without_a_terminal_the_call_centre_shows_its_events_as_plain_lines():
    done = run("call_center.py", "--seconds", 1, "--seed", 1)
    events = re.findall(r"^\d\d:\d\d:\d\d .*", done.stdout, re.MULTILINE)

    assert len(events) == int(table_of(done.stdout)["screen"]["delivered"])
    assert "\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.usefixtures("ctrl_c_works")
def test_ctrl_c_ends_the_call_centre_with_its_table():
    command = [sys.executable, EXAMPLES / "call_center.py", "--seconds", str(PATIENCE), "--plain"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, encoding="utf-8") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, beside_losses(errors)) == (0, [])
    assert {row["sum"] for row in table_of(output).values()} == {"right"}


async def test_the_call_centre_tells_when_a_sum_is_wrong(monkeypatch, capsys):
    async def take_without_counting(events, _seen, _screen):
        async for _ in events:
            pass

    monkeypatch.syspath_prepend(EXAMPLES)
    call_center = importlib.import_module("call_center")
    monkeypatch.setattr(call_center, "show", take_without_counting)
    is_right = await call_center.main(0.1, 1, rich=False)

    assert not is_right
    verdicts = {name: row["sum"] for name, row in table_of(capsys.readouterr().out).items()}
    assert verdicts.pop("screen").startswith("WRONG")
    assert set(verdicts.values()) == {"right"}


# Replay


def test_replay_counts_what_a_plain_loop_over_matches_counts(tmp_path):
    rng = random.Random(20)
    events = [some_event(rng) for _ in range(500)]
    bindings = {f"one {n}": some_binding(rng) for n in range(30)}
    bindings |= {f"list {n}": [some_binding(rng), some_binding(rng)] for n in range(10)}
    file = write_events(tmp_path / "events.jsonl", events)
    (tmp_path / "bindings.json").write_text(json.dumps(bindings))
    done = run("replay.py", file, "--bindings", tmp_path / "bindings.json")

    expected = {name: matching(wanted, events) for name, wanted in bindings.items()}
    assert (done.returncode, done.stderr) == (0, "")
    assert received(done.stdout) == expected
    assert len(set(expected.values())) > 10  # the bindings do tell the events apart


def test_replay_takes_bindings_from_the_command_line_and_several_files(tmp_path):
    rng = random.Random(21)
    halves = [[some_event(rng) for _ in range(50)] for _ in range(2)]
    files = [write_events(tmp_path / f"{n}.jsonl", half) for n, half in enumerate(halves)]
    (tmp_path / "array.json").write_text('[{"app_name": "*"}]')
    wanted = {"x y": {"severity": "warning"}, "both": [{"app_name": "x=y"}, {"account_id": "#"}]}
    named = [f"--binding={name}={json.dumps(binding)}" for name, binding in wanted.items()]
    unnamed = ["--binding", '{"app_name": "x=y"}', "--bindings", tmp_path / "array.json"]
    done = run("replay.py", files[0], *named, *unnamed, files[1])

    wanted |= {"binding 3": {"app_name": "x=y"}, "binding 4": {}}
    expected = {name: matching(binding, halves[0] + halves[1]) for name, binding in wanted.items()}
    assert (done.returncode, done.stderr) == (0, "")
    assert received(done.stdout) == expected


def test_replay_loses_nothing_of_more_events_than_a_queue_holds(tmp_path):
    rng = random.Random(22)
    file = write_events(tmp_path / "many.jsonl", [some_event(rng) for _ in range(3000)])
    done = run("replay.py", file, "--binding", 'all={"verbosity": "trace"}')

    assert received(done.stdout) == {"all": 3000}
    assert "3000 events published" in done.stdout


EVENT = {"app_name": "a", "app_version": "1", "severity": "ok", "verbosity": "info", "body": {}}


# A line, and how the report of it goes on after file and line.
BAD_LINES = [
    (json.dumps(EVENT | {"severity": "bad"}), "severity: "),
    (json.dumps(EVENT | {"body": {"calls": [0, {"at": float("nan")}]}}), "body.calls[1].at: nan "),
    (json.dumps(EVENT | {"body": {"x": 2**70}}), "body.x: "),
    (json.dumps(EVENT | {"account_tree": ["a", ""]}), "account_tree[1]: "),
    (json.dumps(EVENT | {"colour\x1b": "red"}), '["colour\\x1b"]: '),
    (json.dumps(EVENT | {"timestamp": "2025-01-01T00:00:00"}), "timestamp: "),
    (json.dumps({key: EVENT[key] for key in EVENT if key != "body"}), "body: "),
    ("{", "Invalid JSON: "),
    (b'{"app_name": "\xff"}', "Invalid JSON: "),
    ("[]", "Input should be an object"),
]


def test_a_bad_line_is_named_by_file_line_and_field_and_the_rest_goes_on(good):
    first, *others = good.read_bytes().splitlines()
    bad = [line if isinstance(line, bytes) else line.encode() for line, _ in BAD_LINES]
    good.write_bytes(b"\n".join([first, b"", *bad, *others]))
    done = run("replay.py", good, "--binding", 'all={"verbosity": "trace"}')

    reports = done.stderr.splitlines()
    for number, (report, (_, how)) in enumerate(zip(reports, BAD_LINES, strict=True), 3):
        assert report.startswith(f"{good}:{number}: {how}")
    assert done.returncode == 1
    assert received(done.stdout) == {"all": 20}
    assert f"20 events published, {len(BAD_LINES)} bad lines" in done.stdout


def test_an_empty_file_replays_nothing_and_is_no_error(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    done = run("replay.py", tmp_path / "empty.jsonl")

    assert (done.returncode, done.stderr) == (0, "")
    assert received(done.stdout) == {"default": 0}


def test_a_file_that_cannot_be_read_is_told_before_any_event_is_published(good, tmp_path):
    done = run("replay.py", good, tmp_path / "missing.jsonl")

    assert (done.returncode, done.stdout) == (2, "")
    assert "missing.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ('{"severity": "warn"}', "--binding 1: severity: 'warn'"),
        (
            'late=[{}, {"verbosity": []}]',
            "--binding 1: [1].verbosity: must have at least one level",
        ),
        ('{"colour": "red"}', "--binding 1: colour: "),
        ("[]", "--binding 1: the document must have at least one binding, got an empty array"),
        ("late", "--binding 1: the document is not valid JSON"),
        ("late={", "--binding 1: the document is not valid JSON"),
    ],
)
def test_a_wrong_binding_is_a_usage_error_that_names_the_field(good, binding, message):
    done = run("replay.py", good, "--binding", binding)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"late": {"severity": "warn"}}', "wanted.json: late: severity: 'warn'"),
        ('[{}, {"app_name": ""}]', "wanted.json: [1]: app_name: "),
        ("7", "wanted.json: this is neither"),
        ("{", "wanted.json: the document is not valid JSON"),
    ],
)
def test_a_wrong_binding_in_a_file_is_named_by_the_file_and_its_place(
    good, tmp_path, content, message
):
    (tmp_path / "wanted.json").write_text(content)
    done = run("replay.py", good, "--bindings", tmp_path / "wanted.json")

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


# Both


def test_both_examples_run_without_rich(good):
    without_rich = {"before": ("-c", WITHOUT_RICH)}
    replay = run("replay.py", good, **without_rich)
    centre = run("call_center.py", "--seconds", 1, "--seed", 1, **without_rich)

    assert (replay.returncode, replay.stderr) == (0, "")
    assert (centre.returncode, beside_losses(centre.stderr)) == (0, [])
    assert table_of(centre.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("example", ["replay.py", "call_center.py"])
def test_on_a_terminal_both_examples_draw_with_rich(good, example):
    pytest.importorskip("rich")
    args = [good, "--binding", "a[red]={}"] if example == "replay.py" else ["--seconds", "0.3"]
    terminal, end = os.openpty()
    command = [sys.executable, EXAMPLES / example, *args]
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(command, stdout=end, stderr=end, env=env) as process:
        os.close(end)
        screen = read_all(terminal)

    assert process.returncode == 0
    assert "│" in screen
    assert ("a[red]" if example == "replay.py" else "call_status_change") in screen


def read_all(terminal):
    """Read until nobody writes to the terminal any more; Linux says that with an error."""
    parts = []
    with os.fdopen(terminal, "rb", buffering=0) as file:
        try:
            while part := file.read(1 << 16):
                parts.append(part)
        except OSError:
            pass
    return b"".join(parts).decode()


def test_explain_tells_every_reason():
    done = run("explain.py")

    assert (done.returncode, done.stderr) == (0, "")
    assert "body.wait_time: wanted [{" in done.stdout
    assert len(done.stdout.splitlines()) == 6


def test_the_outbox_loses_no_order_though_it_is_killed(tmp_path):
    journal = tmp_path / "orders.journal"
    done = run("outbox.py", "--orders", 60, "--journal", journal)
    numbers = {name: int(row["number"]) for name, row in table_of(done.stdout).items()}

    assert done.returncode == 0, done.stderr
    assert "the service was killed" in done.stdout
    assert (numbers["emitted"], numbers["delivered"], numbers["lost"]) == (60, 60, 0)
    assert numbers["doubled"] >= numbers["broken"]

    command = [sys.executable, "-m", "edr", "journal", "read", journal]
    left = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    orders = {json.loads(line)["event"]["body"]["order"] for line in left.splitlines()}
    assert len(orders) == 60  # one that was stored when the service was killed may be there twice


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
def test_the_webhooks_lose_no_order_though_both_sides_are_killed():
    pytest.importorskip("aiohttp")
    done = run("webhooks.py", "--kills", 2, "--seconds", 2, "--timeout", PATIENCE - 10)
    numbers = {name: int(row["number"]) for name, row in table_of(done.stdout).items()}

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("edr run was killed") == done.stdout.count("receiver was killed") == 2
    assert numbers["accepted"] == numbers["delivered"] > 10
    assert numbers["lost"] == 0


def test_the_webhooks_name_the_extra_that_is_missing():
    without = "import runpy, sys; sys.modules['aiohttp'] = None; sys.argv = sys.argv[1:]; "
    without += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    without += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run("webhooks.py", before=("-c", without))

    assert done.returncode == 2
    assert "pip install '.[app]'" in done.stderr


# The dashboard


@contextmanager
def dashboard():
    """Start the dashboard, and give the process, its URL, and the token of each grant."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    command = [sys.executable, EXAMPLES / "dashboard.py", "--port", "0", "--seconds", str(PATIENCE)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = re.search(r"http://[\d.:]+", process.stdout.readline())[0]
            rows = [process.stdout.readline().rsplit(maxsplit=1) for _ in range(3)]
            yield process, url, {name.strip(): token for name, token in rows}
        finally:
            process.kill()


def opened(url, token=None):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - of the program above
    return urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310


def events_in(stream, count):
    lines = (line.removeprefix(b"data: ") for line in stream if line.startswith(b"data: "))
    next(lines)  # hello
    return [json.loads(next(lines)) for _ in range(count)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.usefixtures("ctrl_c_works")
def test_the_dashboard_shows_each_grant_its_own_events():
    with dashboard() as (process, url, tokens):
        with opened(f"{url}/") as page:
            assert b"<html" in page.read()
        with opened(f"{url}/events?account_id=globex-oslo", tokens["operator"]) as stream:
            assert events_in(stream, 1)[0]["account_tree"] == ["northstar", "globex"]
        with opened(f"{url}/events", tokens["customer acme"]) as stream:
            trees = [event["account_tree"] for event in events_in(stream, 20)]
        assert trees == [["acme"]] * 20
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, beside_losses(errors)) == (0, [])


def test_the_dashboard_names_the_extra_that_is_missing():
    without = "import runpy, sys; sys.modules['uvicorn'] = None; sys.argv = sys.argv[1:]; "
    without += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    without += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run("dashboard.py", before=("-c", without))

    assert done.returncode == 1
    assert "pip install '.[web]'" in done.stderr
