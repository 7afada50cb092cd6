import re

import orjson
from hypothesis import given
from support.kazoo_samples import LOGIN
from support.strategies import events

from edr.wire import kazoo, text
from edr.wire.escaping import UNSAFE

WORD = r'("(?:[^"\\]|\\.)*"|[^\s"\\={}]+)'
LINE = re.compile(
    rf"(\S+)Z (ok|warning|critical) (\w+) {WORD} {WORD}(?: account={WORD})? node={WORD} id={WORD}"
    r" (\{.*\})"
)


def read(word):
    return orjson.loads(word) if word.startswith('"') else word


def test_a_line_says_when_how_bad_who_and_what():
    assert text.encode(kazoo.decode(LOGIN)).decode() == (
        "2023-12-31T00:00:00.000000Z ok info acdc 4.0.0 account=5f1c0d6b2a7e4c3d9b8a1e0f7c6d5b4a"
        " node=kazoo_apps@apps1.example.net id=9d0f4a51c2b3e6778899aabbccddeeff"
        ' {"event":"logged_into_queue","agent_id":"a1","queue_id":"q7"}'
    )


def test_a_name_that_looks_like_more_of_the_line_is_quoted(make_event):
    event = make_event(app_name='acdc 4.0.0 account="root"\n2023', id="i")
    line = text.encode(event).decode()

    assert ' "acdc 4.0.0 account=\\"root\\"\\n2023" 1 node=' in line
    assert len(line.splitlines()) == 1


@given(events)
def test_every_event_is_one_line_that_splits_into_what_it_was_made_of(event):
    line = text.encode(event).decode()
    parts = LINE.fullmatch(line)

    assert len(line.splitlines()) == 1
    assert not re.search(f"[{UNSAFE}]", line)
    assert parts is not None
    app, version, account, node, event_id = (word and read(word) for word in parts.groups()[3:8])
    assert (app, version, account) == (event.app_name, event.app_version, event.account_id)
    assert (node, event_id) == (event.node, event.id)
    assert orjson.loads(parts[9]) == event.body
