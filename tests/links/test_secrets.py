"""No error, log line, state or repr of a link shows the password of a broker's URL."""

import contextlib
import logging
import traceback

import pytest
from support.nats_server import free_port

import edr

pytest.importorskip("nats", reason="needs nats: pip install 'edr[nats]'")
pytest.importorskip("aiormq", reason="needs rabbitmq: pip install 'edr[rabbitmq]'")
from edr.links import NatsLink, RabbitLink

CANARY = "s3cret"
MISTYPED = [
    "{0}//svc:s3cret@host",
    "{0}:/svc:s3cret@host/",
    "{0}x://svc:s3cret@host/",
    "svc:s3cret@://host",
    "{0}://svc:s3cret/x@host",
    "{0}://svc:s3cret#x@host:4222",
    "{0}://svc:s3cret?x@host",
    "{0}://svc:s3cret:x/y@host",
    "{0}://svc:s3cret[@host",
    "{0}://svc:s3cret@host:port",
    "{0}://svc:s3cret@host:99999",
    "{0}://svc:s3cret@host,svc:s3cret@",
    "{0}://svc:s3cret@host:1,{0}://svc:s3cret@host:2",
    "{0}://svc:s3cret@",
    "{0}://svc:s3cret\u2100@host",
    "{0}://host/?password=s3cret@x",
]


def shown(exc):
    """All that a traceback of ``exc`` prints, and all that hangs on it."""
    texts = ["".join(traceback.format_exception(exc))]
    while exc is not None:
        texts.append(f"{exc!r} {exc.args}")
        exc = exc.__cause__ or exc.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(("make", "scheme"), [(NatsLink, "nats"), (RabbitLink, "amqp")])
async def test_a_mistyped_url_is_refused_without_it(bus, make, scheme, url):
    with pytest.raises(ValueError) as error:
        make(bus, url.format(scheme))
    # The traceback names the line of this test, which has the variable and not its value.
    assert CANARY not in shown(error.value)


@pytest.mark.parametrize("url", MISTYPED)
async def test_connect_refuses_a_mistyped_url_without_it(url):
    with pytest.raises(ValueError) as error:
        async with edr.connect(url.format("nats")):
            pass
    assert CANARY not in shown(error.value)


@pytest.mark.parametrize(
    ("make", "url"),
    [
        (NatsLink, "nats://svc:s3cret@127.0.0.1:{}"),
        (NatsLink, "tls://s3cret@127.0.0.1:{}"),
        (NatsLink, ["nats://svc:s3cret@127.0.0.1:{}", "nats://127.0.0.1:{}"]),
        (RabbitLink, "amqp://svc:s3cret@127.0.0.1:{}/vhost?auth=none"),
        (RabbitLink, "amqps://svc:s3cret@127.0.0.1:{}/%2F?cadata=s3cret"),
    ],
)
async def test_a_broker_that_is_away_shows_no_password(bus, caplog, make, url):
    caplog.set_level(logging.DEBUG)
    port = free_port()
    urls = url.format(port) if isinstance(url, str) else [each.format(port) for each in url]
    link = make(bus, urls, timeout=1.0)
    with contextlib.suppress(edr.links.LinkRefusedError):
        await link.start()
    await link.aclose()

    assert CANARY not in caplog.text
    assert CANARY not in f"{link!r} {link.statistics()}"


@pytest.mark.slow
async def test_a_wrong_password_of_nats_is_not_shown(bus, caplog, own_server):
    caplog.set_level(logging.DEBUG)
    server = own_server(config='authorization { user: svc, password: "right" }')
    link = NatsLink(bus, server.url.replace("//", "//svc:s3cret@"))
    with pytest.raises(edr.links.LinkRefusedError, match="does not let this link in") as error:
        await link.start()

    assert CANARY not in shown(error.value) + caplog.text + str(link.statistics())


@pytest.mark.slow
async def test_a_wrong_password_of_rabbitmq_is_not_shown(bus, caplog, rabbitmq):
    caplog.set_level(logging.DEBUG)
    link = RabbitLink(bus, f"amqp://svc:s3cret@127.0.0.1:{rabbitmq.PORT}/")
    with pytest.raises(edr.links.LinkRefusedError, match="RabbitMQ refuses") as error:
        await link.start()

    assert CANARY not in shown(error.value) + caplog.text + str(link.statistics())


@pytest.mark.parametrize("option", ["user_credentials", "nkeys_seed"])
async def test_a_secret_in_place_of_a_file_name_is_not_shown(bus, caplog, option, own_server):
    pytest.importorskip("nkeys")
    # A server that lets in by key asks for a signature, so the client reads the file.
    key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    server = own_server(config=f"authorization {{ users: [ {{ nkey: {key} }} ] }}")
    link = NatsLink(bus, server.url, client={option: CANARY})
    with pytest.raises(edr.links.LinkRefusedError, match=f"the file of {option}") as error:
        await link.start()

    assert CANARY not in str(error.value) + caplog.text + str(link.statistics())
