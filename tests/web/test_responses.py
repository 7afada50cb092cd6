import json

from edr.web.refusals import RefusedError
from edr.web.responses import answer_json, refuse


async def sent_by(respond, *args):
    messages = []

    async def send(message):
        messages.append(message)

    await respond(send, *args)
    start, body = messages
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert not body["more_body"]
    assert int(headers["content-length"]) == len(body["body"])
    return start["status"], headers, json.loads(body["body"])


async def test_answer_is_not_stored_and_not_guessed():
    status, headers, document = await sent_by(answer_json, {"a": 1}, {"Vary": "Origin"})

    assert (status, document) == (200, {"a": 1})
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["vary"] == "Origin"


async def test_refusal_has_its_status_and_headers():
    refusal = RefusedError("stopping", "the gateway is stopping")
    status, headers, document = await sent_by(refuse, refusal, {})

    assert status == 503
    assert headers["retry-after"]
    assert document == {"error": refusal.error}
