import json
from datetime import UTC, datetime

from edr.streams import Record
from edr.web.blackhole import event_frames
from edr.web.blackhole.event_frames import EventFrames, head


def record_of(event, position=7):
    return Record(position, f"9f2c41d0-{position}", event, event.to_json())


def test_frame_has_the_bytes_of_kazoo(make_event):
    event = make_event(
        "acdc",
        "critical",
        "fatal",
        {"Queue-ID": "q7", "none": None},
        id="9d0f4a51c2b3e6778899aabbccddeeff",
        timestamp=datetime(2023, 12, 31, tzinfo=UTC),
        account_id="child",
        account_tree=("parent",),
        node="apps1",
    )

    rest = EventFrames().rest(record_of(event))

    msg_id = json.loads("{" + rest)["data"]["msg_id"]
    assert head("edr.critical.fatal.*", "edr.critical.fatal.child.*") + rest == (
        '{"action":"event","subscribed_key":"edr.critical.fatal.*",'
        '"subscription_key":"edr.critical.fatal.child.*","name":"event",'
        '"routing_key":"edr.critical.fatal.child.acdc","data":{"account_id":"child",'
        '"account_tree":["parent"],"app_name":"acdc","app_version":"1","body":{"queue_id":"q7"},'
        '"event_category":"edr","event_name":"event","gregorian_time":63871200000,'
        '"id":"9d0f4a51c2b3e6778899aabbccddeeff","msg_id":"' + msg_id + '",'
        '"severity":"critical","timestamp":"2023-12-31T00:00:00Z","verbosity":"fatal"}}'
    )


def test_event_is_encoded_once_for_each_form(make_event):
    frames = EventFrames()
    event = make_event(account_id="child", account_tree=("root", "parent"))
    cut = event.model_copy(update={"account_tree": ("parent",)})

    first, again, other = (frames.rest(record_of(each)) for each in (event, event, cut))

    assert again is first
    assert json.loads("{" + other)["data"]["account_tree"] == ["parent"]


def test_msg_id_is_that_of_the_publication(make_event):
    event = make_event()

    def msg_id(position):
        return json.loads("{" + EventFrames().rest(record_of(event, position)))["data"]["msg_id"]

    assert msg_id(1) == msg_id(1) != msg_id(2)
    assert len(msg_id(1)) == 32


def test_routing_key_may_be_longer_than_that_of_amqp(make_event):
    rest = EventFrames().rest(record_of(make_event("x" * 300)))

    assert json.loads("{" + rest)["routing_key"] == "edr.ok.info.undefined." + "x" * 300


def test_kept_events_are_bounded_by_count_and_size(make_event, monkeypatch):
    monkeypatch.setattr(event_frames, "MAX_KEPT", 10)
    monkeypatch.setattr(event_frames, "MAX_KEPT_CHARACTERS", 3000)
    frames = EventFrames()
    small, large = make_event(), make_event(body={"text": "x" * 2500})

    first = frames.rest(record_of(small, 1))
    for position in range(2, 12):
        frames.rest(record_of(small, position))
    assert frames.rest(record_of(small, 1)) is not first

    kept = frames.rest(record_of(small, 1))
    frames.rest(record_of(large, 99))
    assert frames.rest(record_of(small, 1)) is not kept
