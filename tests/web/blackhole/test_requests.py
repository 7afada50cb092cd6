import json
import re

import pytest

from edr.web.blackhole import replies
from edr.web.blackhole.replies import RequestError
from edr.web.blackhole.requests import Target, parse

GOOD = {"account_id": "A", "binding": "edr.ok.info.acdc"}


def request(**members):
    return parse(json.dumps(members))


def error_of(data):
    with pytest.raises(RequestError) as caught:
        request(data=data).target()
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '"{}"', "\ud800", "[" * 5000])
def test_frame_must_be_a_json_object(text):
    with pytest.raises(RequestError, match=replies.NOT_AN_OBJECT):
        parse(text)


def test_binary_frame_is_an_error():
    with pytest.raises(RequestError, match=replies.NOT_TEXT):
        parse(b'{"action":"ping"}')


def test_request_without_an_id_gets_one_of_32_hex_digits():
    assert re.fullmatch("[0-9a-f]{32}", request().id)
    assert request().id != request().id


@pytest.mark.parametrize("id", ["R", "", 5])
def test_id_of_a_request_is_kept(id):
    assert request(request_id=id).id == id


@pytest.mark.parametrize("id", [None, True, 1.5, [], {"a": 1}])
def test_id_that_is_neither_text_nor_a_whole_number_is_replaced(id):
    assert re.fullmatch("[0-9a-f]{32}", request(request_id=id).id)


@pytest.mark.parametrize("data", [None, {}, [], "text", 5])
def test_request_without_data_is_an_error(data):
    assert error_of(data) == "missing required keys in data object"


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        ({"account_id": "A"}, "binding"),
        ({"account_id": "A", "bindings": ["edr.ok.info.acdc"]}, "binding"),
        ({"binding": "edr.ok.info.acdc", "account_id": None}, "account_id"),
        ({"other": 1}, "account_id, binding"),
    ],
)
def test_missing_keys_are_named(data, missing):
    assert error_of(data) == f"missing required keys : {missing}"


@pytest.mark.parametrize("account_id", ["", 5, [], "a" * 256])
def test_account_must_be_a_name(account_id):
    assert error_of(GOOD | {"account_id": account_id}).startswith("account_id must be text")


@pytest.mark.parametrize("binding", ["", 5, ["edr.ok.info.acdc"], "edr.ok.info." + "a" * 256])
def test_binding_must_be_a_key(binding):
    assert error_of(GOOD | {"binding": binding}) == replies.BINDING_FORMAT


def test_key_of_another_family_is_not_served():
    target = request(data={"account_id": "A", "binding": "call.CHANNEL_CREATE.*"}).target()

    assert target == Target("A", None)
    with pytest.raises(RequestError, match=replies.NO_SUCH_FAMILY):
        target.served_key()


def test_token_is_not_in_the_text_of_a_request():
    document = {"auth_token": "T-secret", "data": GOOD | {"auth_token": "T-secret"}}

    assert "T-secret" not in repr(request(**document))


@pytest.mark.parametrize("token", [None, "", 5, ["T"]])
def test_token_that_is_not_text_is_none(token):
    assert request(auth_token=token).token is None


def test_metadata_is_kept_up_to_a_size_and_a_depth():
    deep = 5
    for _ in range(500):
        deep = [deep]

    assert request(metadata={"page": "queues"}).metadata == {"page": "queues"}
    assert request(metadata="x" * 5000).metadata is None
    assert request(metadata=deep).metadata is None


def test_name_is_cut():
    assert request(name="wallboard").name == "wallboard"
    assert request(name="x" * 1000).name == "x" * 255
    assert request(name={"a": 1}).name is None
