"""One program over HTTP: the status of each answer, and that no output has a secret."""

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.conftest import line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CANARY = "CANARY" * 3
"""Part of each secret of the program: in no output."""

SIGNING = base64.b64encode(CANARY.encode() * 2).decode()

CONFIGURATION = """
http = { listen = "127.0.0.1:0", tokens_file = "tokens.jsonl" }
web = { listen = "127.0.0.1:0", tokens_file = "tokens.jsonl" }
[app]
ready_requires = ["audit"]
accounts = { file = "accounts.json" }
[sources.web]
type = "http"
max_body = "64 KiB"
max_requests = 1
[sinks.audit]
type = "file"
path = "audit.jsonl"
[sinks.away]
type = "http"
url = { env = "AWAY_URL" }
headers = { X-Token = { file = "token" } }
sign = { secret = { env = "SIGNING" } }
[sinks.rejecting]
type = "http"
url = { env = "REJECTING_URL" }
headers = { Authorization = { file = "token" } }
[sinks.rabbit]
type = "rabbitmq"
url = { env = "RABBIT_URL" }
[sinks.nats]
type = "nats"
url = { env = "NATS_URL" }
"""
TOKENS = {
    "acme": {"account": "acme", "rights": ["emit"]},
    "any": {"rights": ["emit"]},
    "metrics": {"rights": ["metrics"]},
    "watcher": {"account": "acme", "rights": ["watch"]},
    "expired": {"rights": ["emit"], "expires": "2020-01-01T00:00:00Z"},
}


class Echo:
    """Refuses each request, and returns it, as a receiver in development does."""

    def __init__(self):
        code = (
            "import http.server, sys\n"
            "class Handler(http.server.BaseHTTPRequestHandler):\n"
            "    def do_POST(self):\n"
            "        self.rfile.read(int(self.headers['content-length']))\n"
            "        text = f'{self.path} {self.headers}'.encode()\n"
            "        self.send_response(422)\n"
            "        self.send_header('content-length', str(len(text)))\n"
            "        self.end_headers()\n"
            "        self.wfile.write(text)\n"
            "    def log_message(self, *args): pass\n"
            "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)\n"
            "print(server.server_address[1], flush=True)\n"
            "server.serve_forever()\n"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())


class Program:
    """``edr run`` in a folder, its log in a file, and commands about it."""

    def __init__(self, folder, port):
        self.folder = folder
        self.log = folder / "run.log"
        secrets = {
            "AWAY_URL": f"http://user:{CANARY}@127.0.0.1:1/{CANARY}?key={CANARY}",
            "REJECTING_URL": f"http://127.0.0.1:{port}/{CANARY}?key={CANARY}",
            "RABBIT_URL": f"amqp://guest:{CANARY}@127.0.0.1:1/",
            "NATS_URL": f"nats://{CANARY}@127.0.0.1:1",
            "SIGNING": f"whsec_{SIGNING}",
        }
        self.environ = {**os.environ, "EDR_RUNTIME_DIR": str(folder / "run"), **secrets}
        (folder / "token").write_text(f"Bearer {CANARY}\n")
        (folder / "accounts.json").write_text(json.dumps({"shop": "acme"}))
        (folder / "edr.toml").write_text(CONFIGURATION)
        documents = [
            {"sha256": hashlib.sha256(token_of(name).encode()).hexdigest(), **rights}
            for name, rights in TOKENS.items()
        ]
        tokens = folder / "tokens.jsonl"
        tokens.write_text("".join(json.dumps(each) + "\n" for each in documents))
        tokens.chmod(0o600)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edr", "run", "edr.toml"],
                cwd=folder,
                env=self.environ,
                stderr=log,
            )
        self.wait_for(lambda: "the application runs" in self.logged())
        address = re.search(r"http server listens on (\S+)", self.logged())[1]
        self.client = httpx.Client(base_url=address, timeout=30)

    def logged(self):
        return self.log.read_text()

    def wait_for(self, condition, within=30):
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, self.logged()
            assert self.process.poll() is None, self.logged()
            time.sleep(0.02)

    def command(self, *words, environ=None):
        return subprocess.run(
            [sys.executable, "-m", "edr", *words],
            cwd=self.folder,
            env=self.environ if environ is None else environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def ingest(self, *lines, sender="any", **headers):
        named = {"content-type": "application/x-ndjson", **headers}
        if sender:
            named["authorization"] = f"Bearer {token_of(sender)}"
        return self.client.post("/ingest", content=b"".join(lines), headers=named)


def token_of(name):
    return f"{CANARY}-{name}"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    echo = Echo()
    program = None
    try:
        program = Program(tmp_path_factory.mktemp("program"), echo.port)
        yield program
    finally:
        echo.process.kill()
        echo.process.communicate()
        if program is not None:
            program.client.close()
            program.process.kill()
            program.process.wait()


def test_stored_and_refused_lines_are_answered(program):
    answer = program.ingest(line(1), b"{}\n", line(2))

    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert [each["line"] for each in answer.json()["refused"]] == [2]


def test_only_refused_lines_are_400(program):
    answer = program.ingest(b"{}\n")

    assert (answer.status_code, answer.json()["accepted"]) == (400, 0)


@pytest.mark.parametrize("sender", ["", "unknown", "expired"])
def test_a_request_without_a_valid_token_is_401(program, sender):
    answer = program.ingest(line(1), sender=sender)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_without_the_right_is_403(program):
    assert program.ingest(line(1), sender="metrics").status_code == 403


def test_a_large_body_is_413(program):
    assert program.ingest(line("x" * 70_000)).status_code == 413


def test_another_content_type_is_415(program):
    assert program.ingest(line(1), **{"content-type": "text/plain"}).status_code == 415


def test_a_request_above_the_limit_is_429(program):
    url = program.client.base_url
    with socket.create_connection((url.host, url.port)) as first:
        head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of('any')}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        first.sendall(head.encode())
        program.wait_for(lambda: "edr_source_connections" in metrics(program, 1))
        answer = program.ingest(line(1))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    program.wait_for(lambda: "edr_source_connections" in metrics(program, 0))


def metrics(program, connections):
    """Return the page if the source has this number of connections, else nothing."""
    headers = {"authorization": f"Bearer {token_of('metrics')}"}
    page = program.client.get("/metrics", headers=headers).text
    sample = f'edr_source_connections{{bus="edr",source="web"}} {connections:.1f}'
    return page if sample in page else ""


def test_a_tenant_emits_below_its_account_only_and_never_sets_the_tree(program):
    forged = line(1, account_id="shop", account_tree=["other"])
    answer = program.ingest(forged, line(2, account_id="other"), sender="acme")
    program.wait_for(lambda: '"shop"' in (program.folder / "audit.jsonl").read_text())

    assert [each["line"] for each in answer.json()["refused"]] == [2]
    lines = (program.folder / "audit.jsonl").read_text().splitlines()
    stored = [json.loads(each) for each in lines]
    assert [each["account_tree"] for each in stored if each["account_id"] == "shop"] == [["acme"]]


def test_it_is_alive_and_ready_while_other_sinks_are_not(program):
    program.ingest(line(1))
    program.wait_for(lambda: "sink away: retrying" in program.client.get("/readyz").text)

    assert program.client.get("/livez").text == "ok\n"
    assert program.client.get("/readyz").status_code == 200


def test_metrics_need_their_right(program):
    headers = {"authorization": f"Bearer {token_of('any')}"}

    assert program.client.get("/metrics", headers=headers).status_code == 401
    assert "edr_sink_backlog" in metrics(program, 0)


def test_the_gateway_has_the_other_paths(program):
    assert program.ingest(line(1, account_id="shop"), line(2)).status_code == 200
    answer = watched(program, "/recent", "watcher")

    assert {each["event"]["account_id"] for each in answer.json()["events"]} <= {"shop", "acme"}
    assert watched(program, "/recent", "metrics").status_code == 401
    assert "gateway web: running\n" in program.client.get("/readyz").text
    assert 'edr_gateway_clients{bus="edr",gateway="web"} 0.0' in metrics(program, 0)


def watched(program, path, token):
    headers = {"authorization": f"Bearer {token_of(token)}"}
    return program.client.get(path, headers=headers)


def test_no_output_has_a_secret(program):
    assert program.ingest(line(1)).status_code == 200
    assert program.ingest(line(1), sender="unknown").status_code == 401
    program.wait_for(lambda: "sink 'rejecting' dropped" in program.logged())
    program.wait_for(lambda: "sink away: retrying" in program.client.get("/readyz").text)
    without = {key: value for key, value in program.environ.items() if key != "NATS_URL"}
    commands = [
        ("status", "edr", "-o", "json"),
        ("status", "edr", "-o", "text"),
        ("top", "edr", "-o", "json", "--count", "1"),
        ("check", "edr.toml"),
        ("check", "edr.toml", "--live"),
        ("check", "edr.toml", "--as", "toml"),
        ("dead", "ls", "edr.toml", "-o", "json"),
        ("dead", "retry", "edr.toml", "rejecting"),
        ("dead", "retry", "edr.toml", "rabbit"),
    ]
    with ThreadPoolExecutor(3) as pool:
        done = pool.map(lambda words: program.command(*words), commands)
        outputs = dict(zip(commands, done, strict=True))
    outputs["a fault"] = program.command("check", "edr.toml", environ=without)
    texts = {words: each.stdout + each.stderr for words, each in outputs.items()}
    texts["watched"] = watched(program, "/recent", "watcher").text
    texts["not watched"] = watched(program, "/events", "unknown").text
    texts["token in the URL"] = program.client.get("/ws", params={"token": token_of("any")}).text
    texts["readyz"] = program.client.get("/readyz").text
    texts["metrics"] = metrics(program, 0)
    texts["log"] = program.logged()
    texts["dead"] = (program.folder / "edr-data" / "dead" / "rejecting.jsonl").read_text()

    assert [words for words, text in texts.items() if not text.strip()] == []
    assert [words for words, text in texts.items() if CANARY in text] == []
    assert [words for words, text in texts.items() if SIGNING[:8] in text] == []
