import pytest
from support.sse_client import parse

from edr.streams import Missed, Record
from edr.web import sse


def test_event_has_an_id_and_no_name(make_event):
    event = make_event(body={"text": "a\nb\r\u2028"})
    block = sse.events([Record(3, "w-3", event, event.to_json())])

    assert block.count(b"\n") == 3
    assert parse(block.decode().removesuffix("\n\n")).data["body"] == event.body
    assert block.startswith(b"id: w-3\ndata: {")


@pytest.mark.parametrize(("missed", "document"), [
    (Missed(312, "slow", "w-9"), {"reason": "slow", "missed": 312}),
    (Missed(7, "expired", "w-9"), {"reason": "expired", "missed_at_most": 7}),
    (Missed(None, "expired", "w-9"), {"reason": "expired", "missed": None}),
    (Missed(None, "restarted", "w-9"), {"reason": "restarted", "missed": None}),
])  # fmt: skip
def test_gap_has_the_cursor_before_the_next_event(missed, document):
    block = parse(sse.gap(missed).decode().removesuffix("\n\n"))

    assert (block.event, block.id, block.data) == ("gap", "w-9", document)


def test_heartbeat_is_only_an_id():
    assert sse.heartbeat("w-9") == b":\nid: w-9\n\n"


def test_bye_has_no_id():
    assert sse.bye("stopping") == b'event: bye\ndata: {"reason":"stopping"}\n\n'


def test_blocks_are_made_once_for_the_same_records(make_event):
    def records(count):
        return [Record(n, f"w-{n}", event, event.to_json()) for n in range(count)]

    event = make_event()
    blocks, some = sse.Blocks(), records(2)
    made = blocks.of(some)

    assert blocks.of(list(some)) is made == sse.events(some)
    assert blocks.of(some[:1]) == sse.events(some[:1])
    assert blocks.of(some[1:]) == sse.events(some[1:])
    assert blocks.of(some) == made
