import asyncio
import gzip
import hashlib

import orjson
import pytest
from support.consuming import ticks, until
from support.sources import Request, line, lines

from edr.sources import HttpIngest, Tokens
from edr.wire import cloudevents


def token_line(token, **fields):
    digest = hashlib.sha256(token.encode()).hexdigest()
    return orjson.dumps({"sha256": digest, "rights": ["emit"], **fields}) + b"\n"


@pytest.fixture
async def app(ingest):
    app = HttpIngest("http", ingest, max_body=10_000, max_requests=2)
    await app.start()
    yield app
    await app.aclose()


@pytest.fixture
async def guarded(ingest, folder):
    (folder / "tokens").write_bytes(
        token_line("all")
        + token_line("tenant", account="acme")
        + token_line("reader", rights=["metrics"])
        + token_line("old", expires="2020-01-01T00:00:00Z")
    )
    (folder / "tokens").chmod(0o600)
    app = HttpIngest("http", ingest, tokens=Tokens(folder / "tokens"))
    await app.start()
    yield app
    await app.aclose()


async def post(app, body, **options):
    request = Request(app, **options)
    answer = await request.end(body)
    return request, answer


async def test_one_document_is_answered(app, journal):
    request, answer = await post(app, line(1), content_type="application/json; charset=UTF-8")

    assert (request.status, answer) == (200, {"accepted": 1, "refused": []})
    assert request.headers["content-type"] == "application/json"
    assert journal.numbers == [1]


async def test_array_is_answered_with_the_places_of_its_documents(app, journal):
    body = b"[" + line(1) + b", {}, " + line(3) + b", 4]"
    request, answer = await post(app, body, content_type="application/json")

    assert (request.status, answer["accepted"]) == (200, 2)
    assert [each["line"] for each in answer["refused"]] == [2, 4]
    assert journal.numbers == [1, 3]


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "Application/JSONL"])
async def test_lines_are_answered_with_their_numbers(app, content_type):
    body = lines(1) + b"\r\n{}\n" + line(4).rstrip()
    request, answer = await post(app, body, content_type=content_type)

    assert (request.status, answer["accepted"]) == (200, 2)
    assert [each["line"] for each in answer["refused"]] == [3]


async def test_cloudevents_are_read_by_content_type(app, journal, make_event):
    one, two = make_event(body={"n": 1}), make_event(body={"n": 2})
    first, _ = await post(app, cloudevents.encode(one), content_type="application/cloudevents+json")
    batch = b"[" + cloudevents.encode(two) + b', {"specversion": "1.0"}]'
    second, answer = await post(app, batch, content_type="application/cloudevents-batch+json")

    assert (first.status, second.status) == (200, 200)
    assert [each["path"] for each in answer["refused"]] == ["id"]
    assert journal.stored == [one, two]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"  "),
        ("application/json", b"{"),
        ("application/json", b"[{}]"),
        ("application/json", b"[1,"),
        ("application/x-ndjson", b"{}\n{}\n"),
        ("application/cloudevents+json", b"{}"),
        ("application/cloudevents-batch+json", b"{}"),
    ],
)
async def test_all_refused_is_400(app, content_type, body):
    request, answer = await post(app, body, content_type=content_type)

    assert request.status == 400
    assert answer["accepted"] == 0
    assert answer["refused"][0]["reason"]


@pytest.mark.parametrize(
    ("content_type", "body"), [("application/json", b"[]"), ("application/x-ndjson", b"")]
)
async def test_input_without_a_document_is_accepted(app, content_type, body):
    request, answer = await post(app, body, content_type=content_type)

    assert (request.status, answer) == (200, {"accepted": 0, "refused": []})


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
async def test_other_methods_are_405(app, method):
    request = Request(app, method=method)
    await request.answer()

    assert (request.status, request.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "options",
    [
        {"content_type": None},
        {"content_type": "text/plain"},  # a page of another site can send it
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/json; charset=latin-1"},
        {"content_encoding": "gzip"},
    ],
)
async def test_other_types_and_encodings_are_415(app, journal, options):
    request = Request(app, **options)
    request.send(gzip.compress(line(1)), more_body=False)
    await request.answer()

    assert request.status == 415
    assert request.received == 0
    assert journal.stored == []


async def test_announced_body_above_the_limit_is_413_and_not_read(app):
    request = Request(app, content_length="10001")
    await request.answer()

    assert (request.status, request.received) == (413, 0)


async def test_body_above_the_limit_is_413(app, journal):
    request = Request(app)
    request.send(line(1))
    request.send(b"x" * 10_000)
    await request.answer()

    assert request.status == 413
    assert request.headers["connection"] == "close"
    assert journal.stored == []


@pytest.mark.parametrize("length", ["-1", "", "1e3", "9" * 5000])
async def test_wrong_length_is_413(app, length):
    request = Request(app, content_length=length)
    await request.answer()

    assert request.status == 413


async def test_requests_above_the_limit_are_429(app):
    waiting = [Request(app), Request(app)]
    await ticks()
    request = Request(app)
    await request.answer()

    assert (request.status, request.headers["retry-after"]) == (429, "1")
    assert (await waiting[0].end(line(1)))["accepted"] == 1
    assert (await post(app, line(2)))[0].status == 200
    await waiting[1].aclose()


async def test_body_that_does_not_arrive_is_408(app, monkeypatch):
    monkeypatch.setattr("edr.sources.http.READ_TIMEOUT", 0.001)
    request = Request(app)
    await request.answer()

    assert request.status == 408


async def test_sender_that_goes_stores_nothing(app, journal):
    request = Request(app)
    request.send(line(1))
    request.disconnect()
    await request.serving

    assert request.sent == []
    assert journal.stored == []


async def test_journal_that_cannot_store_is_503_and_the_body_not_read(app, journal):
    journal.error = "disk full"
    request = Request(app)
    answer = await request.answer()

    assert (request.status, request.headers["retry-after"]) == (503, "5")
    assert "disk full" in answer["error"]
    assert request.received == 0


async def test_journal_without_room_is_503_after_a_time(app, journal, monkeypatch):
    monkeypatch.setattr("edr.sources.http.READY_TIMEOUT", 0.001)
    journal.size = 0
    request = Request(app)
    await request.answer()

    assert (request.status, request.received) == (503, 0)


async def test_closed_journal_is_503(app, journal):
    journal.is_closed = True
    request = Request(app)
    await request.answer()

    assert request.status == 503


async def test_events_that_are_not_stored_are_503_with_their_first_line(app, journal):
    journal.hold()
    request = Request(app)
    request.send(b"\n" + lines(1, 2), more_body=False)
    await until(lambda: len(journal.accepted) == 2)
    journal.fail("disk full")
    answer = await request.answer()

    assert (request.status, request.headers["retry-after"]) == (503, "5")
    assert answer["not_stored"] == {"line": 2, "reason": "disk full"}
    assert app.statistics().failed == 1


async def test_a_commit_that_takes_too_long_is_503(app, journal, monkeypatch):
    monkeypatch.setattr("edr.sources.http.STORE_TIMEOUT", 0.001)
    journal.hold()
    request = Request(app)
    request.send(lines(1, 2), more_body=False)
    answer = await request.answer()

    assert (request.status, request.headers["retry-after"]) == (503, "5")
    assert answer["not_stored"]["line"] == 1
    assert app.statistics().failed == 1
    journal.release()


# Tokens


@pytest.mark.parametrize("authorization", [None, "Bearer nope", "Bearer old", "Basic all"])
async def test_request_without_a_valid_token_is_401(guarded, journal, authorization):
    headers = {} if authorization is None else {"authorization": authorization}
    request = Request(guarded, **headers)
    await request.answer()

    assert (request.status, request.headers["www-authenticate"]) == (401, "Bearer")
    assert request.received == 0


async def test_token_without_the_right_is_403(guarded):
    request = Request(guarded, authorization="Bearer reader")
    await request.answer()

    assert (request.status, request.received) == (403, 0)


async def test_token_emits_for_its_account_only(guarded, journal):
    body = line(1, account_id="shop") + line(2, account_id="other") + line(3)
    request, answer = await post(guarded, body, authorization="Bearer tenant")

    assert request.status == 200
    assert [each["line"] for each in answer["refused"]] == [2, 3]
    assert journal.numbers == [1]


@pytest.mark.parametrize("token", ["all", "tenant"])
async def test_tree_of_the_sender_is_replaced(guarded, journal, token):
    body = line(1, account_id="shop", account_tree=["victim"])
    await post(guarded, body, authorization=f"Bearer {token}")

    assert journal.stored[0].account_tree == ("root", "acme")


# End


async def test_requests_before_the_start_are_503(ingest):
    app = HttpIngest("http", ingest)
    request = Request(app)
    await request.answer()

    assert request.status == 503


async def test_stop_refuses_bodies_on_the_way_and_answers_whole_ones(app, journal):
    journal.hold()
    whole, partial = Request(app), Request(app)
    whole.send(line(1), more_body=False)
    partial.send(line(2))
    await until(lambda: journal.accepted)
    stopping = asyncio.ensure_future(app.drain())
    await partial.answer()
    assert (partial.status, stopping.done()) == (503, False)
    journal.release()
    await stopping

    assert (await whole.answer())["accepted"] == 1
    late = Request(app)
    await late.answer()
    assert late.status == 503
    assert journal.numbers == [1]


async def test_stop_ends_requests_that_wait_for_room(app, journal):
    journal.size = 0
    request = Request(app)
    await ticks()
    await app.drain()
    await request.answer()

    assert request.status == 503
    assert app.statistics().state == "stopped"


async def test_close_ends_requests_at_once(app, journal):
    journal.hold()
    request = Request(app)
    request.send(line(1), more_body=False)
    await until(lambda: journal.accepted)
    await app.aclose()
    await request.answer()

    assert request.status == 503
    assert app.statistics().accepted == 0
    journal.release()
    await ticks()


async def test_cancelled_request_ends_its_work(app, journal):
    request = Request(app)
    await ticks()
    await request.aclose()
    await ticks()

    assert app.statistics().connections == 0


async def test_other_protocols_are_refused(app):
    with pytest.raises(ValueError, match="websocket"):
        await app({"type": "websocket"}, None, None)


@pytest.mark.parametrize("options", [{"max_body": 0}, {"max_requests": "1"}])
async def test_wrong_option_is_refused(ingest, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        HttpIngest("http", ingest, **options)
