"""What is bent in the client library is still there to be bent, and does what is said of it."""

import asyncio
import shutil
import ssl
import subprocess
import sys

import pytest
from support.consuming import until
from support.fault_proxy import FaultProxy

import edr
from edr.links import LinkRefusedError

nats_client = pytest.importorskip(
    "edr.links.nats_client", reason="needs nats: pip install 'edr[nats]'"
)


@pytest.fixture
async def connection(nats_server):
    connection = nats_client.Connection()
    await open_to(connection, nats_server.url)
    yield connection
    await connection.abort()


async def open_to(connection, url, timeout=5.0):
    await connection.open([url], name="test", timeout=timeout, options={})


async def heard_on(url, pattern):
    """A connection of its own, and what it hears."""
    connection, heard = nats_client.Connection(), []
    await open_to(connection, url)
    await connection.listen(pattern, lambda *message: heard.append(message))
    await connection.fence(5.0)
    return connection, heard


async def test_messages_of_all_patterns_come_in_one_order(connection, nats_server):
    other, heard = await heard_on(nats_server.url, "x.a")
    await other.listen("x.b", lambda *message: heard.append(message))
    await other.fence(5.0)
    for n in range(1000):
        await connection.publish(f"x.{'ab'[n % 2]}", str(n).encode())
    await connection.fence(5.0)
    await other.fence(5.0)
    await other.abort()

    assert [int(data) for _, _, _, data, _ in heard] == list(range(1000))
    assert {number for number, *_ in heard} == {1, 2}


async def test_a_fence_is_behind_all_that_was_published(own_server):
    server = own_server(monitor=True)
    connection = nats_client.Connection()
    await open_to(connection, server.url)
    for _ in range(5000):
        await connection.publish("x", b"y" * 1000)
    await connection.fence(10.0)
    handled = await asyncio.to_thread(server.asked, "varz")
    await connection.abort()

    assert handled["in_msgs"] == 5000


async def test_a_fence_that_is_not_answered_times_out_and_its_late_answer_harms_nothing(own_server):
    server = own_server()
    connection = nats_client.Connection()
    async with FaultProxy(server.port) as proxy:
        await open_to(connection, proxy.url)
        proxy.mute()
        with pytest.raises(TimeoutError, match="did not answer within 0.05 s"):
            await connection.fence(0.05)
        proxy.unmute()
        await connection.fence(5.0)

        assert not connection.lost.is_set()
        await connection.abort()


async def test_what_is_no_longer_listened_to_is_not_heard(connection, nats_server):
    other, heard = await heard_on(nats_server.url, "y.1")
    number = await other.listen("y.2", lambda *message: heard.append(message))
    await other.unlisten(number)
    await other.fence(5.0)
    for subject in ("y.2", "y.1"):
        await connection.publish(subject, b"")
    await connection.fence(5.0)
    await other.fence(5.0)
    await other.abort()

    assert [subject for _, subject, _, _, _ in heard] == [b"y.1"]


async def test_a_connection_that_is_cut_is_lost_and_a_fence_says_so(own_server):
    server = own_server()
    connection = nats_client.Connection()
    async with FaultProxy(server.port) as proxy:
        await open_to(connection, proxy.url)
        proxy.mute()
        waiting = asyncio.create_task(connection.fence(10.0))
        await asyncio.sleep(0)
        await proxy.cut()
        with pytest.raises(ConnectionError):
            await waiting
        await connection.lost.wait()
    await connection.abort()


async def test_a_server_that_ends_the_connection_is_a_fault(connection):
    connection._transport.write(b"NONSENSE\r\n")
    await connection.lost.wait()

    assert "unknown protocol" in str(connection.fault)


async def test_aborting_a_connection_to_a_server_that_hangs_takes_no_time(own_server):
    server = own_server()
    connection = nats_client.Connection()
    await open_to(connection, server.url)
    server.pause()
    for _ in range(20):
        await connection.publish("x", b"y" * 500_000)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(1.0):
        await connection.abort()
    server.resume()


async def test_a_server_that_is_not_there_is_no_riddle(own_server):
    server = own_server()
    server.kill()
    connection = nats_client.Connection()
    with pytest.raises(OSError, match="111"):
        await open_to(connection, server.url)
    await connection.abort()


async def test_a_server_that_wants_to_know_who_we_are_refuses(own_server):
    server = own_server(config="authorization { token: s3cret }")
    connection = nats_client.Connection()
    with pytest.raises(LinkRefusedError, match="does not let this link in"):
        await open_to(connection, server.url)
    await connection.abort()
    await until(lambda: connection._transport is None or connection.is_closed)


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        ('permissions violation for publish to "a.b"', ("publish", "a.b")),
        ('permissions violation for subscription to "publish"', ("subscription", "publish")),
        ('permissions violation for subscription to "a" using queue "q"', ("subscription", "a")),
        ("maximum connections exceeded", None),
    ],
)
def test_denied_by_reads_what_the_server_does_not_permit(words, denied):
    assert nats_client.denied_by(words) == denied


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ("user_credentails", TypeError, "did you mean 'user_credentials'"),
        ("connect_timeout", ValueError, "the link sets it itself"),
        ("self", TypeError, "no argument 'self'"),
    ],
)
def test_client_options_are_checked_at_construction(option, error, words):
    with pytest.raises(error, match=words):
        nats_client.checked_options({option: 1})


async def plain_server(answers):
    """A NATS server without TLS, which notes what it is sent."""

    async def serve(reader, writer):
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","auth_required":true}\r\n')
        answers.append(await reader.read(1000))
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("scheme", "options"), [("tls", {}), ("nats", {"tls": ssl.create_default_context()})]
)
async def test_a_password_is_not_sent_when_the_server_has_no_tls(scheme, options):
    answers = []
    async with await plain_server(answers) as server:
        port = server.sockets[0].getsockname()[1]
        connection = nats_client.Connection()
        with pytest.raises(LinkRefusedError, match="does not offer TLS"):
            await connection.open(
                [f"{scheme}://svc:s3cret@127.0.0.1:{port}"], name="t", timeout=5, options=options
            )
        await connection.abort()
        await until(lambda: answers)

    assert answers == [b""]


@pytest.fixture
def tls_server(own_server, tmp_path):
    """A server that offers TLS, with a certificate that no CA has signed: the extra config."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        (
            f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-keyout key -out cert -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        ).split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )

    def start(extra=""):
        config = f'tls {{ cert_file: "{tmp_path}/cert", key_file: "{tmp_path}/key" }}\n{extra}'
        return own_server(config=config), str(tmp_path / "cert")

    return start


@pytest.mark.parametrize("extra", ["", "allow_non_tls: true"])
async def test_tls_is_used_where_the_server_requires_or_offers_it(tls_server, extra):
    server, ca = tls_server(extra)
    connection = nats_client.Connection()
    await connection.open(
        [server.url.replace("nats:", "tls:")],
        name="t",
        timeout=5,
        options={"tls": ssl.create_default_context(cafile=ca)},
    )
    assert connection._transport._io_writer.get_extra_info("ssl_object") is not None
    await connection.abort()


async def test_an_unknown_ca_is_refused_at_once(tls_server, bus):
    server, _ = tls_server()
    with pytest.raises(LinkRefusedError, match="certificate verify failed"):
        await edr.links.NatsLink(bus, server.url.replace("nats:", "tls:")).start()


async def test_a_missing_package_is_refused_at_once(nats_server, bus, monkeypatch):
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(LinkRefusedError, match="nkeys"):
        await edr.links.NatsLink(bus, nats_server.url, client={"nkeys_seed_str": "S"}).start()


async def test_a_percent_encoded_login_is_decoded(own_server, bus):
    server = own_server(config='authorization { user: "s:c", password: "p/w@1" }')
    async with edr.links.NatsLink(bus, server.url.replace("//", "//s%3Ac:p%2Fw%401@")) as link:
        await link.ready()


async def test_a_percent_encoded_token_is_decoded(own_server, bus):
    server = own_server(config='authorization { token: "t/1" }')
    async with edr.links.NatsLink(bus, server.url.replace("//", "//t%2F1@")) as link:
        await link.ready()


async def test_inboxes_have_the_prefix_of_the_client_options(nats_server):
    connection = nats_client.Connection()
    options = {"inbox_prefix": "_MINE"}
    await connection.open([nats_server.url], name="t", timeout=5, options=options)
    with pytest.raises(LookupError):
        await connection.ask("nobody", b"", 5)
    assert connection._answers_to.startswith("_MINE.")
    await connection.abort()
