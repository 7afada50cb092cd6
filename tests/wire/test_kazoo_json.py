import orjson
import pytest
from hypothesis import given
from support.kazoo_samples import DISK, LOGIN
from support.strategies import events

from edr.wire import kazoo, kazoo_json

event = kazoo.decode(DISK)


def test_by_default_every_name_is_normalized_those_of_the_body_too_and_nulls_go():
    assert kazoo_json.encode(event).decode() == (
        '{"app_name":"my.app v2","app_version":"0.3.1","body":{"free_percent":3,"mount":"/",'
        '"nested":{"list":["",null,{"in_list":""}]}},"id":"00112233445566778899aabbccddeeff",'
        '"node":"kazoo_apps@apps2.example.net","severity":"critical",'
        '"timestamp":"2023-12-31T00:00:01Z","gregorian_time":63871200001,"verbosity":"fatal"}'
    )


def test_without_normalizing_names_have_dashes_and_the_body_is_as_it_was():
    assert kazoo_json.encode(event, normalize=False).decode() == (
        '{"App-Name":"my.app v2","App-Version":"0.3.1","Body":{"Free-Percent":3,"Mount":"/",'
        '"Nothing":null,"Nested":{"List":["",null,{"In-List":""}]}},'
        '"ID":"00112233445566778899aabbccddeeff","Node":"kazoo_apps@apps2.example.net",'
        '"Severity":"critical","Timestamp":"2023-12-31T00:00:01Z","Gregorian-Time":63871200001,'
        '"Verbosity":"fatal"}'
    )


def test_the_order_is_kazoos_with_an_account_first():
    assert list(orjson.loads(kazoo_json.encode(kazoo.decode(LOGIN)))) == [
        *("account_id", "account_tree", "app_name", "app_version", "body", "id", "node"),
        *("severity", "timestamp", "gregorian_time", "verbosity"),
    ]


@pytest.mark.parametrize("normalize", [True, False])
def test_without_metadata_it_is_the_body_untouched(normalize):
    data = kazoo_json.encode(event, include_metadata=False, normalize=normalize)

    assert orjson.loads(data) == event.body


def test_keys_change_in_ascii_only_and_the_last_of_two_that_meet_wins(make_event):
    data = kazoo_json.encode(make_event(body={"Ä-B c": 1, "X-Y": 2, "x_y": 3}))

    assert orjson.loads(data)["body"] == {"Ä_b c": 1, "x_y": 3}


def test_pretty_has_two_spaces_a_spaced_colon_and_a_member_a_line(make_event):
    data = kazoo_json.encode(
        make_event(body={"a": {}, "b": [1, "ü"]}), include_metadata=False, pretty=True
    )

    assert data.decode() == ('{\n  "a" : {\n    \n  },\n  "b" : [\n    1,\n    "ü"\n  ]\n}')


@given(events)
def test_pretty_says_the_same(event):
    for normalize in (True, False):
        plain = kazoo_json.encode(event, normalize=normalize)
        pretty = kazoo_json.encode(event, normalize=normalize, pretty=True)
        assert orjson.loads(pretty) == orjson.loads(plain)
