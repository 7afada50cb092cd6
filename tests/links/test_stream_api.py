"""``StreamApi``: requests to JetStream, and what its answers mean."""

from datetime import timedelta

import orjson
import pytest

pytest.importorskip("nats")
from edr.links.stream_api import NO_SUCH_CONSUMER, StreamApi, StreamError, parse_reply
from edr.links.stream_retention import EPOCH


class Connection:
    """Answers each request with the next of ``answers``."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    async def ask(self, subject, payload, timeout):
        self.requests.append((subject, payload, timeout))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return orjson.dumps(answer)


def api_with(*answers):
    return StreamApi(Connection(*answers), "events", 5.0)


@pytest.mark.parametrize("words", [b"events.c", b"domain.account.events.c"])
def test_reply_is_parsed_with_and_without_a_domain(words):
    reply = b"$JS.ACK." + words + b".2.30.4.5000000.6"
    reply += b".token" if b"domain" in words else b""

    assert parse_reply(reply) == (2, 30, 4, EPOCH + timedelta(milliseconds=5), 6)


async def test_request_waits_for_the_shorter_timeout():
    api = api_with({"n": 1}, {"n": 2})

    assert await api.info(9.0) == {"n": 1}
    assert await api.info(1.0) == {"n": 2}
    assert [timeout for *_, timeout in api.connection.requests] == [5.0, 1.0]


async def test_consumer_is_none_only_if_it_does_not_exist():
    missing = {"error": {"code": 404, "err_code": NO_SUCH_CONSUMER, "description": "gone"}}
    api = api_with(missing, {"error": {"code": 400, "err_code": 1, "description": "bad"}})

    assert await api.consumer("c") is None
    with pytest.raises(StreamError, match="bad"):
        await api.consumer("c")


async def test_consumers_are_requested_page_by_page():
    pages = ({"total": 3, "consumers": [1, 2]}, {"total": 3, "consumers": [3]})
    api = api_with(*pages)

    assert [consumer async for consumer in api.consumers()] == [1, 2, 3]
    offsets = [orjson.loads(payload)["offset"] for _, payload, _ in api.connection.requests]
    assert offsets == [0, 2]


async def test_server_without_jetstream_is_a_temporary_error():
    with pytest.raises(StreamError, match="JetStream is not enabled") as caught:
        await api_with(LookupError()).info()

    assert caught.value.is_temporary
    assert not caught.value.is_full
