"""``HttpSink`` against a receiver that does everything that HTTP permits, and more."""

import asyncio
import gzip
import logging
from contextlib import asynccontextmanager

import orjson
import pytest
from contracts.journal import event
from standardwebhooks.webhooks import Webhook
from support.http_receiver import (
    HttpReceiver,
    endless,
    reset,
    response,
    stall,
    trickle,
    unfinished,
)
from support.sinks import MemoryIntake, MemoryLog

from edr.sinks import (
    Batch,
    DeadLetters,
    Encoder,
    RejectError,
    Retry,
    RetryError,
    SinkWorker,
    http,
)
from edr.sinks.http import HttpSink
from edr.sinks.signing import Signer

CANARY = "canary-5f1c0d6b"
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def sink_to(url, *, encode=None, **options):
    return HttpSink(url, name="s", encode=encode or Encoder(), **{"timeout": 10, **options})


@asynccontextmanager
async def connected(*answers, **options):
    async with HttpReceiver(*answers) as receiver:
        sink = sink_to(receiver.url, **options)
        await sink.open()
        try:
            yield receiver, sink
        finally:
            await sink.aclose()


async def failure(*answers, count=1, **options):
    """The exception for one batch."""
    async with connected(*answers, **options) as (_, sink):
        with pytest.raises((RetryError, RejectError)) as caught:
            await sink.write([event(n) for n in range(count)])
        assert caught.value.__context__ is None, "an exception of the client may show secrets"
        return caught.value


# Requests


async def test_a_batch_is_one_request():
    async with connected() as (receiver, sink):
        events = [event(1), event(2)]
        await sink.write(events)
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/events")
    assert [each["body"]["n"] for each in orjson.loads(request.body)] == [1, 2]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("edr/")
    assert request.headers["webhook-id"] == f"s-{events[0].id}-{events[1].id}"


async def test_one_event_is_named_by_its_id():
    async with connected(encode=Encoder(single=True)) as (receiver, sink):
        one = event(1)
        await sink.write([one])
    (request,) = receiver.requests
    assert orjson.loads(request.body)["id"] == one.id
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == one.id


async def test_an_id_that_a_header_cannot_contain_is_encoded(make_event):
    async with connected() as (receiver, sink):
        await sink.write([make_event(id="a\r\nX: é%")])
        await sink.write([make_event(id="é" * 200)])
    first, second = (request.headers["webhook-id"] for request in receiver.requests)
    assert first == "a%0D%0AX:%20%C3%A9%25"
    assert len(second) == 64


@pytest.mark.parametrize("method", ["put", "PATCH"])
async def test_the_method_may_be_put_or_patch(method):
    async with connected(method=method) as (receiver, sink):
        await sink.write([event(1)])
    assert receiver.requests[0].method == method.upper()


async def test_headers_of_the_user_are_sent():
    headers = {"Authorization": "Bearer x", "content-type": "application/x-mine"}
    async with connected(headers=headers) as (receiver, sink):
        await sink.write([event(1)])
    assert receiver.requests[0].headers.items() >= {
        ("authorization", "Bearer x"),
        ("content-type", "application/x-mine"),
    }


async def test_a_user_of_the_url_is_sent_as_basic_authentication():
    async with HttpReceiver() as receiver:
        sink = sink_to(receiver.url.replace("://", "://user:pa%2Fss@"))
        await sink.open()
        await sink.write([event(1)])
        await sink.aclose()
    assert receiver.requests[0].headers["authorization"] == "Basic dXNlcjpwYS9zcw=="


async def test_a_cloudevent_in_binary_mode_has_its_attributes_as_headers():
    encode = Encoder("cloudevents", single=True, mode="binary")
    async with connected(encode=encode) as (receiver, sink):
        one = event(1)
        await sink.write([one])
    (request,) = receiver.requests
    assert request.headers["ce-id"] == one.id
    assert orjson.loads(request.body) == {"n": 1}


async def test_cloudevents_have_the_batch_form():
    async with connected(encode=Encoder("cloudevents")) as (receiver, sink):
        await sink.write([event(1), event(2)])
    (request,) = receiver.requests
    assert request.headers["content-type"].startswith("application/cloudevents-batch+json")
    assert [each["data"]["n"] for each in orjson.loads(request.body)] == [1, 2]


async def test_each_attempt_is_signed_anew_under_the_same_id():
    now = iter([1_000, 2_000])
    signer = Signer(SECRET, clock=lambda: next(now))
    async with connected(503, signer=signer) as (receiver, sink):
        batch = [event(1)]
        with pytest.raises(RetryError):
            await sink.write(batch)
        await sink.write(batch)
    first, second = (request.headers for request in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1000", "2000")
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_a_receiver_verifies_a_request():
    async with connected(signer=Signer(SECRET)) as (receiver, sink):
        await sink.write([event(1)])
    (request,) = receiver.requests
    assert Webhook(SECRET).verify(request.body, request.headers)[0]["body"] == {"n": 1}


async def test_one_connection_serves_many_requests(monkeypatch):
    monkeypatch.setattr(http, "KEEP_ALIVE", 60.0)  # a busy machine may stop for some seconds
    async with connected(200, response(201, b"x" * 1000), 503, 204) as (receiver, sink):
        for n in range(5):
            if n == 2:
                with pytest.raises(RetryError):
                    await sink.write([event(n)])
            else:
                await sink.write([event(n)])
    assert (len(receiver.requests), receiver.connections) == (5, 1)


async def test_a_sink_is_opened_again_after_it_was_closed():
    async with connected() as (receiver, sink):
        await sink.write([event(1)])
        await sink.aclose()
        await sink.aclose()
        await sink.open()
        await sink.write([event(2)])
    assert len(receiver.requests) == 2


async def test_a_large_batch_is_sent_without_a_warning(make_event):
    async with connected() as (receiver, sink):
        await sink.write([make_event(body={"n": "x" * 2**20})])
    assert len(receiver.requests[0].body) > 2**20


async def test_a_cancelled_request_leaves_the_sink_usable():
    async with connected(stall) as (receiver, sink):
        task = asyncio.create_task(sink.write([event(1)]))
        while not receiver.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sink.write([event(2)])


# Responses


async def test_a_5xx_is_sent_again_after_retry_after():
    error = await failure(response(503, b"busy", Retry_After=7))
    assert isinstance(error, RetryError)
    assert (str(error), error.after) == ("503 Service Unavailable: busy", 7.0)


async def test_a_redirect_is_not_followed():
    async with HttpReceiver() as other:
        error = await failure(response(302, Location=other.url))
        assert error.slow
        assert other.url not in str(error)
        assert other.requests == []


async def test_a_413_has_a_batch_halved():
    assert (await failure(413, count=2)).too_large


async def test_a_rejection_shows_the_words_of_the_receiver():
    error = await failure(response(409, b'{"error": "n must be text"}'))
    assert isinstance(error, RejectError)
    assert str(error) == '409 Conflict: {"error": "n must be text"}'


async def test_a_rejection_that_repeats_a_secret_shows_nothing_of_it():
    answer = response(400, f"bad token {CANARY}".encode())
    error = await failure(answer, headers={"Authorization": f"Bearer {CANARY}"})
    assert str(error) == "400 Bad Request"


async def test_an_unrequested_gzip_is_not_decompressed():
    bomb = gzip.compress(b"0" * 2**24)
    error = await failure(response(500, bomb, Content_Encoding="gzip"))
    assert isinstance(error, RetryError)
    assert "000" not in str(error)
    async with connected(response(200, bomb, Content_Encoding="gzip")) as (_, sink):
        await sink.write([event(1)])


async def test_a_cookie_is_not_kept():
    async with connected(response(200, Set_Cookie="a=b")) as (receiver, sink):
        await sink.write([event(1)])
        await sink.write([event(2)])
    assert "cookie" not in receiver.requests[1].headers


@pytest.mark.parametrize(
    "body",
    [endless(200), unfinished(200), response(200, b"x" * 2**20)],
    ids=["endless", "", "long"],
)
async def test_a_2xx_is_delivered_whatever_its_body_is(body, monkeypatch):
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.05)
    async with connected(body) as (receiver, sink):
        await sink.write([event(1)])
        await sink.write([event(2)])
    assert (len(receiver.requests), receiver.connections) == (2, 2)


async def test_an_error_whose_body_does_not_end_is_still_that_error(monkeypatch):
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.05)
    assert str(await failure(unfinished(400))) == "400 Bad Request"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-N: 12345678\r\n" * 15_000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
    ids=["long header", "many headers", "not http", "status", "length"],
)
async def test_a_malformed_response_is_sent_again(answer):
    error = await failure(answer)
    assert isinstance(error, RetryError)
    assert not error.slow


@pytest.mark.parametrize("answer", [reset, b""], ids=["reset", "closed"])
async def test_a_lost_connection_is_sent_again(answer):
    error = await failure(answer)
    assert isinstance(error, RetryError)
    assert "connection" in str(error)


@pytest.mark.parametrize("answer", [stall, trickle], ids=["stall", "slow loris"])
async def test_a_response_that_does_not_come_is_sent_again(answer):
    error = await failure(answer, timeout=0.2)
    assert isinstance(error, RetryError)
    assert str(error).endswith("within 0.2 s")


async def test_a_receiver_that_is_down_is_named_without_its_path():
    async with HttpReceiver() as receiver:
        port = receiver.port
    sink = sink_to(f"http://user:{CANARY}@127.0.0.1:{port}/{CANARY}?{CANARY}")
    await sink.open()
    with pytest.raises(RetryError, match=f"http://127.0.0.1:{port} is not reachable") as caught:
        await sink.write([event(1)])
    await sink.aclose()
    assert CANARY not in repr(caught.value)


async def test_a_port_without_tls_is_sent_again():
    async def answer(_reader, writer):
        writer.write(response(400))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        sink = sink_to(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await sink.open()
        with pytest.raises(RetryError, match="TLS handshake") as caught:
            await sink.write([event(1)])
        await sink.aclose()
    assert not caught.value.slow


# Under a worker


@asynccontextmanager
async def working(receiver, path, count, **options):
    """A worker with ``count`` events, which has sent them when the block begins."""
    log, dead = MemoryLog(), DeadLetters(path / "s.jsonl")
    log.put(*[event(n) for n in range(count)])
    intake = MemoryIntake(log)
    intake.end()
    retry = Retry(base=0.01, cap=0.01)
    worker = SinkWorker(
        "s", sink_to(receiver.url), intake, retry=retry, dead_letters=dead, **options
    )
    await worker.start()
    try:
        while len(log.acked) < count:
            await asyncio.sleep(0.001)
        yield log, dead
    finally:
        await worker.aclose()


async def test_a_failed_batch_is_sent_again_whole_and_in_order(tmp_path):
    async with (
        HttpReceiver(503, reset, b"", 204) as receiver,
        working(receiver, tmp_path, 4, batch=Batch(events=2)) as (log, _),
    ):
        assert log.delivered == [0, 1, 2, 3]
    batches = [[each["body"]["n"] for each in orjson.loads(body)] for body in receiver.bodies]
    assert batches == [[0, 1], [0, 1], [0, 1], [0, 1], [2, 3]]


async def test_one_refused_event_of_five_becomes_a_dead_letter(tmp_path):
    async with (
        HttpReceiver(400, 204, 204, response(409, b"no"), 204, 204) as receiver,
        working(receiver, tmp_path, 5, batch=Batch(events=5)) as (log, dead),
    ):
        assert sorted(log.delivered) == [0, 1, 2, 3, 4]
        (letter,) = dead.read()
    assert (letter.event.body["n"], letter.reason) == (2, "409 Conflict: no")
    assert len(receiver.requests) == 6


async def test_a_batch_that_is_too_large_is_halved(tmp_path):
    async with (
        HttpReceiver(413, 413, 204, 413, 204) as receiver,
        working(receiver, tmp_path, 4, batch=Batch(events=4)) as (_, dead),
    ):
        (letter,) = dead.read()
    sizes = [len(orjson.loads(body)) for body in receiver.bodies]
    assert sizes == [4, 2, 1, 1, 2]
    assert letter.event.body["n"] == 1


# Secrets


@pytest.mark.parametrize(
    "answer",
    [
        302,
        400,
        404,
        503,
        reset,
        stall,
        b"HTTP/1.1 20x\r\n\r\n",
        response(400, CANARY.encode()),
        response(302, Location=f"http://{CANARY}/"),
    ],
)
async def test_no_output_shows_a_secret(answer, caplog):
    caplog.set_level(logging.DEBUG)
    async with HttpReceiver(answer) as receiver:
        url = f"{receiver.url.replace('://', f'://user:{CANARY}@')}/{CANARY}?key={CANARY}"
        timeout = 0.5 if answer is stall else 10
        sink = sink_to(url, timeout=timeout, headers={"X-Key": CANARY})
        await sink.open()
        with pytest.raises((RetryError, RejectError)) as caught:
            await sink.write([event(1)])
        await sink.aclose()
    assert answer is stall or CANARY in receiver.requests[0].path
    assert CANARY not in f"{caught.value!r}{caught.getrepr()}{sink!r}{caplog.text}"


# Options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": f"ftp://{CANARY}"}, "http://host or https://host, got another scheme"),
        ({"url": CANARY}, "one without a scheme"),
        ({"url": f"http://:{CANARY}"}, "http://host or https://host"),
        ({"url": f"http://[{CANARY}/"}, "http://host or https://host"),
        ({"url": f"http://host:{CANARY}/"}, "http://host or https://host"),
        ({"url": f"http://user:{CANARY}/x@host/"}, "http://host or https://host"),
        ({"method": "get"}, "method must be one of post, put, patch, got 'get'"),
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"headers": {"a b": CANARY}}, "must be an HTTP token"),
        ({"headers": {"X": f"{CANARY}\r\nY: z"}}, "one line of printable text"),
        ({"headers": {"X": CANARY, "x": ""}}, "header x must be given once"),
        ({"headers": {"Webhook-Id": CANARY}}, "the sink sets it"),
        (
            {"url": f"http://u:{CANARY}@host/", "headers": {"authorization": CANARY}},
            "the URL has a user name, and the headers have Authorization",
        ),
    ],
)
def test_an_option_that_is_not_valid_is_refused_without_its_secret(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        sink_to(**{"url": "http://host/", **change})
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None
