import asyncio
import json

import pytest
from starlette.requests import Request

from edr import Binding
from edr.testing import run
from edr.web.refusals import RefusedError
from edr.web.requests import stream_request


def get(query, **headers):
    encoded = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    return Request(
        {"type": "http", "method": "GET", "query_string": query.encode(), "headers": encoded}
    )


def post(body, chunks=1):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    left = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive():
        return left.pop()

    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}
    return Request(scope, receive)


async def read(request):
    return await stream_request(request, max_body=1000)


async def refusal_of(request):
    with pytest.raises(RefusedError) as caught:
        await read(request)
    return caught.value.status, caught.value.path


@pytest.mark.parametrize(("query", "binding"), [
    ("severity=warning&app_name=acdc", Binding(severity="warning", app_name="acdc")),
    ("app_name=a&app_name=b", Binding(app_name=["a", "b"])),
    ("account_id=x&include_descendants=true", Binding(account_id="x", include_descendants=True)),
    ('body={"a":[1]}', Binding(body={"a": [1]})),
    ('binding={"severity":"critical"}', Binding(severity="critical")),
])  # fmt: skip
async def test_binding_is_read_from_the_query(query, binding):
    assert (await read(get(query))).bindings == (binding,)


async def test_several_bindings_are_read_from_the_query():
    query = 'binding={"app_name":"a"}&binding=[{"app_name":"b"},{"app_name":"c"}]'

    assert [each.app_name for each in (await read(get(query))).bindings] == ["a", "b", "c"]


async def test_options_are_read_from_the_query_and_the_body():
    for request in (
        get("after=x-1&last=5&on_gap=fail"),
        post({"after": "x-1", "last": 5, "on_gap": "fail"}),
    ):
        wanted = await read(request)
        assert (wanted.after, wanted.last, wanted.fails_on_gap) == ("x-1", 5, True)


async def test_last_event_id_overrides_after():
    assert (await read(get("after=x-1", last_event_id="x-2"))).after == "x-2"


@pytest.mark.parametrize(("query", "path"), [
    ('binding={"severity":"bad"}', "bindings[0].severity"),
    ('binding={}&binding={"sevrity":"ok"}', "bindings[1].sevrity"),
    ("binding=x", "binding[0]"),
    ("binding=1", "bindings[0]"),
    ("severity=bad", "severity"),
    ("sevrity=error", "sevrity"),
    ("binding={}&severity=critical", "severity"),
    ("include_descendants=yes", "include_descendants"),
    ("exact_severity=true&exact_severity=true", "exact_severity"),
    ("last=-1", "last"),
    ("last=1e3", "last"),
    ("last=99999999999999", "last"),
    ("on_gap=x", "on_gap"),
    ("binding=" + json.dumps([{}] * 33), "bindings"),
    ("body=[", "body"),
])  # fmt: skip
async def test_fault_in_the_query_has_its_path(query, path):
    assert await refusal_of(get(query)) == (400, path)


@pytest.mark.parametrize(("body", "status", "path"), [
    (b"[", 400, ""),
    ([], 400, ""),
    ({"bindings": [{"severity": "bad"}]}, 400, "bindings[0].severity"),
    ({"bindings": {"severity": "bad"}}, 400, "bindings.severity"),
    ({"bindings": []}, 400, "bindings"),
    ({"bindings": 5}, 400, "bindings"),
    ({"after": 5}, 400, "after"),
    ({"last": True}, 400, "last"),
    ({"token": "x"}, 400, "token"),
    (b" " * 1001, 413, ""),
])  # fmt: skip
async def test_fault_in_the_body_has_its_path(body, status, path):
    assert await refusal_of(post(body)) == (status, path)


def test_body_that_does_not_arrive_is_refused():
    async def never():
        await asyncio.Event().wait()

    async def main():
        scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}
        return await refusal_of(Request(scope, never))

    assert run(main) == (400, "")
