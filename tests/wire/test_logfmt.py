import re

import orjson
from hypothesis import given
from support.kazoo_samples import DISK
from support.strategies import events

from edr.wire import kazoo, logfmt
from edr.wire.escaping import UNSAFE

PAIR = re.compile(r'([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"\\={}]+)')


def pairs(line):
    found = [(key, value) for key, value in PAIR.findall(line)]
    assert " ".join("=".join(pair) for pair in found) == line
    return [(k, orjson.loads(v) if v.startswith('"') else v) for k, v in found]


def test_a_line_is_pairs_with_the_body_flattened():
    assert logfmt.encode(kazoo.decode(DISK)).decode() == (
        'time=2023-12-31T00:00:01.000000Z severity=critical verbosity=fatal app="my.app v2"'
        " version=0.3.1 node=kazoo_apps@apps2.example.net id=00112233445566778899aabbccddeeff"
        " body.Free-Percent=3 body.Mount=/ body.Nothing=null"
        ' body.Nested.List="[\\"\\",null,{\\"In-List\\":\\"\\"}]"'
    )


def test_a_key_cannot_forge_a_pair_or_a_line(make_event):
    body = {'a=b severity="ok"\n%': 1, "": "", "é": {}}
    found = pairs(logfmt.encode(make_event(body=body, account_id="x")).decode())

    assert ("account", "x") in found
    assert found[-3:] == [
        ("body.a%3Db%20severity%3D%22ok%22%0A%25", "1"),
        ("body.", ""),
        ("body.é", "{}"),
    ]


@given(events)
def test_every_event_is_one_line_of_pairs_whose_own_stand_first(event):
    line = logfmt.encode(event).decode()
    found = pairs(line)

    assert len(line.splitlines()) == 1
    assert not re.search(f"[{UNSAFE}]", line)
    optional = (event.account_id, event.traceparent)
    own = dict(found[: 7 + sum(each is not None for each in optional)])
    assert (own["app"], own["node"], own["id"]) == (event.app_name, event.node, event.id)
    assert (own["severity"], own["version"]) == (event.severity, event.app_version)
    assert (own.get("account"), own.get("traceparent")) == optional
    assert all(key.startswith("body.") for key, _ in found[len(own) :])
