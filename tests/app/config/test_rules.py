import pytest

from edr.app.config import ConfigurationError, faults_at_open, read

SIGN = "whsec_" + "QUJD" * 8


def faults(text, folder=None, **environ):
    try:
        read(text.encode(), folder=folder, environ=environ)
    except ConfigurationError as error:
        return {fault.path: fault.message for fault in error.faults}
    return {}


def test_two_sinks_with_one_resolved_path(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    text = """
        sinks.a = { type = "file", path = "real/x" }
        sinks.b = { type = "file", path = "link/../link/x" }
    """

    assert "sinks.a.path is" in faults(text, tmp_path)["sinks.b.path"]


def test_a_disabled_sink_may_have_the_same_path(tmp_path):
    text = """
        sinks.a = { type = "file", path = "x" }
        sinks.b = { type = "file", path = "x", enabled = false }
    """

    assert faults(text, tmp_path) == {}


def test_a_sink_with_a_fault_may_not_have_the_same_path(tmp_path):
    text = """
        sinks.a = { type = "file", path = "x", color = 3 }
        sinks.b = { type = "file", path = "x" }
    """

    found = faults(text, tmp_path)

    assert set(found) == {"sinks.a.color", "sinks.b.path"}
    assert "sinks.a.path is" in found["sinks.b.path"]


@pytest.mark.parametrize("path", ["edr-data/journal/x", "edr-data/dead/a.jsonl"])
def test_a_sink_does_not_write_into_the_journal(tmp_path, path):
    text = f'sinks.a = {{ type = "file", path = "{path}" }}'

    assert list(faults(text, tmp_path)) == ["sinks.a.path"]


def test_a_folder_is_not_a_file(tmp_path):
    assert (
        "is a folder" in faults('sinks.a = { type = "file", path = "." }', tmp_path)["sinks.a.path"]
    )


HTTP_A = "sinks.a.type = 'http'\nsinks.a.url = 'http://a'\nsinks.a"
BINARY = "sinks.a.format = { type = 'cloudevents', mode = 'binary' }"
SINGLE = [
    ("sources.a.type = 'stdin'\nsources.b.type = 'stdin'", "sources.b.type"),
    ("sinks.a.type = 'stdout'\nsinks.b.type = 'stdout'", "sinks.b.type"),
    (
        "http.listen = '127.0.0.1:1'\nsources.a.type = 'http'\nsources.b.type = 'http'",
        "sources.b.type",
    ),
    ("sources.a.type = 'http'", "sources.a.type"),
    ("http.listen = '0.0.0.0:1'\nsources.a.type = 'http'", "http.tokens_file"),
    ("http = { listen = '[::1]:1', tokens_file = '/no/such' }", "http.tokens_file"),
    ("app.accounts = {}", "app.accounts"),
    ("app.accounts = { file = '/no/such' }", "app.accounts.file"),
    ("app.accounts = { file = '/dev/null', callable = 'a:b' }", "app.accounts"),
    ("sinks.a = { type = 'stdout', retry = { base = 61 } }", "sinks.a.retry.cap"),
    (
        "sinks.a = { type = 'stdout', durable = false, retry = { give_up_after = 5 } }",
        "sinks.a.retry.give_up_after",
    ),
    (
        "sinks.a = { type = 'stdout', format = { type = 'cloudevents', mode = 'binary' } }",
        "sinks.a.format.mode",
    ),
    (f"{HTTP_A}.batch.events = 2\n{BINARY}", "sinks.a.format.mode"),
    (
        f"{HTTP_A}.format = {{ type = 'kazoo', pretty = true, lines = true }}",
        "sinks.a.format.lines",
    ),
    (f"{HTTP_A}.tls = {{ key = '/dev/null' }}", "sinks.a.tls"),
    (f"{HTTP_A}.tls = {{ ca = '/no/such' }}", "sinks.a.tls.ca"),
    ("links.a = { type = 'nats', url = 'nats://a' }", "links.a"),
    (
        "links.a = { type = 'amqp', url = 'amqp://a', send = [{}], queue = 'q' }",
        "links.a.queue",
    ),
    (
        "links.a = { type = 'amqp', url = 'amqp://a', receive = 'wanted', queue = 'q' }",
        "links.a.receive",
    ),
]


@pytest.mark.parametrize(("text", "path"), SINGLE)
def test_a_rule_is_reported_once(text, path):
    assert list(faults(text)) == [path]


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_tokens_are_not_needed_on_the_loopback(listen):
    assert faults(f"http.listen = '{listen}'\nsources.a.type = 'http'") == {}


HTTP = """
[sinks.a]
type = "http"
url = { env = "U" }
headers = { X-A = { env = "H" } }
sign = { secret = { env = "S" }, also = { env = "S2" } }
"""


def test_the_values_of_secrets_are_checked_and_not_shown():
    values = {"U": "https://CANARY:x", "H": "CANARY\n", "S": "CANARY", "S2": SIGN}

    found = faults(HTTP, **values)

    assert set(found) == {"sinks.a.url", "sinks.a.headers.X-A", "sinks.a.sign.secret"}
    assert "CANARY" not in str(found)


def test_valid_secrets_are_no_fault():
    assert faults(HTTP, U="https://a:b@c/d?e", H="h", S=SIGN, S2=SIGN) == {}


def test_the_secrets_of_a_disabled_part_are_not_read():
    assert faults(HTTP + "enabled = false\n") == {}


def test_a_consumer_without_a_part_is_a_fault_if_a_full_journal_blocks():
    blocking = read(b'journal.full = "block"').configuration

    [(place, message)] = faults_at_open(blocking, ["sink:old"])

    assert place == ("journal", "full")
    assert "'sink:old'" in message
    assert list(faults_at_open(read(b"").configuration, ["sink:old"])) == []


def test_a_missing_package_is_a_fault_of_the_part_that_needs_it(monkeypatch):
    monkeypatch.setattr("edr.app.config.rules.find_spec", lambda _: None)
    text = """
        http.listen = "127.0.0.1:1"
        web.authenticate = "a:b"
        sinks.a = { type = "http", url = "http://a" }
        sinks.b = { type = "nats", url = "nats://a", enabled = false }
        sinks.c = { type = "file", path = "x" }
    """

    found = faults(text)

    assert found["sinks.a.type"] == "needs the package aiohttp: pip install 'edr[http]'"
    assert found["http"].startswith("needs the packages uvicorn, starlette, prometheus_client")
    assert found["web"].endswith("websockets, prometheus_client: pip install 'edr[web]'")
    assert set(found) == {"http", "web", "sinks.a.type"}


def test_a_url_with_a_password_excludes_an_authorization_header():
    text = """
        sinks.a.type = "http"
        sinks.a.url = { env = "U" }
        sinks.a.headers = { AUTHORIZATION = { env = "A" } }
    """

    found = faults(text, U="http://me:secret@127.0.0.1/", A="Bearer x")
    assert list(found) == ["sinks.a.headers.AUTHORIZATION"]
    assert "secret" not in str(found)
    assert faults(text, U="http://127.0.0.1/", A="Bearer x") == {}


WEB = "web.authenticate = 'a:b'\n"
OVERLAPS = [
    ("0.0.0.0:1", "127.0.0.1:1", True),
    ("127.0.0.1:1", "localhost:1", True),
    ("[::]:1", "[::1]:1", True),
    ("127.0.0.1:1", "127.0.0.1:1", False),
    ("127.0.0.1:1", "127.0.0.2:1", False),
    ("0.0.0.0:1", "127.0.0.1:2", False),
    ("0.0.0.0:0", "127.0.0.1:0", False),
]


@pytest.mark.parametrize(("http", "web", "is_fault"), OVERLAPS)
def test_web_and_http_share_an_address_or_have_two(http, web, is_fault):
    found = faults(f"{WEB}http.listen = '{http}'\nweb.listen = '{web}'")

    assert list(found) == ["web.listen"] * is_fault


def test_one_server_of_web_and_http_is_a_note():
    text = f"{WEB}http.listen = '127.0.0.1:1'\nweb.listen = '127.0.0.1:1'\nsinks.a.type = 'stdout'"
    [note] = read(text.encode()).notes

    assert (note.path, note.line) == ("web.listen", 3)
    assert "one server" in note.message


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("web = {}", ["web"]),
        ("web = { tokens_file = '/no/such' }", ["web.tokens_file"]),
        (f"{WEB}web.listen = '0.0.0.0:1'", ["web.listen"]),
        (f"{WEB}web.listen = '0.0.0.0:1'\nweb.behind_proxy = true", []),
        (f"{WEB}web.listen = '0.0.0.0:1'\nweb.certificate = '/no/such'", ["web.certificate"]),
        (f"{WEB}web.certificate = '/dev/null'", ["web.certificate"]),
        (f"{WEB}web.certificate = '/dev/null'\nweb.key = '/no/such'", ["web.key"]),
        (f"{WEB}web.key = '/dev/null'", ["web.key"]),
        ("web = { listen = '0.0.0.0:1', behind_proxy = 1 }", ["web", "web.behind_proxy"]),
    ],
)
def test_the_gateway_needs_access_and_tls(text, paths):
    assert sorted(faults(text)) == paths
