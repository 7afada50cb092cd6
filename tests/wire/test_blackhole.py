import json

from support.kazoo_samples import DISK, LOGIN

from edr.wire import blackhole, kazoo

MSG_ID = "62c40f4d6b89d1c41b1a351752cdf0fe"


def test_event_of_an_account():
    assert blackhole.encode(kazoo.decode(LOGIN), MSG_ID) == (
        b'{"account_id":"5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a",'
        b'"account_tree":["0aa1bb2cc3dd4ee5ff60718293a4b5c6","1bb2cc3dd4ee5ff60718293a4b5c6d70"],'
        b'"app_name":"acdc","app_version":"4.0.0",'
        b'"body":{"event":"logged_into_queue","agent_id":"a1","queue_id":"q7"},'
        b'"event_category":"edr","event_name":"event","gregorian_time":63871200000,'
        b'"id":"9d0f4a51c2b3e6778899aabbccddeeff","msg_id":"62c40f4d6b89d1c41b1a351752cdf0fe",'
        b'"severity":"ok","timestamp":"2023-12-31T00:00:00Z","verbosity":"info"}'
    )


def test_event_without_an_account():
    assert blackhole.encode(kazoo.decode(DISK), MSG_ID) == (
        b'{"app_name":"my.app v2","app_version":"0.3.1",'
        b'"body":{"free_percent":3,"mount":"/","nested":{"list":["",null,{"in_list":""}]}},'
        b'"event_category":"edr","event_name":"event","gregorian_time":63871200001,'
        b'"id":"00112233445566778899aabbccddeeff","msg_id":"62c40f4d6b89d1c41b1a351752cdf0fe",'
        b'"severity":"critical","timestamp":"2023-12-31T00:00:01Z","verbosity":"fatal"}'
    )


def test_empty_strings_and_null_members_are_left_out(make_event):
    event = make_event(body={"A-B": "", "n": None, "deep": {"E": "", "x": None, "l": ["", None]}})

    assert json.loads(blackhole.encode(event, MSG_ID))["body"] == {"deep": {"l": ["", None]}}


def test_data_has_no_node(make_event):
    event = make_event(node="apps1", traceparent=None)

    assert b"apps1" not in blackhole.encode(event, MSG_ID)
