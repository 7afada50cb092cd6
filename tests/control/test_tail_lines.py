import orjson
import pytest

from edr.control.protocol import MAX_LINE
from edr.control.tail_lines import TailLines


class Answers:
    def line(self, kind, fields):
        return b'{"is":"%b",%b\n' % (kind.encode(), fields[1:])


@pytest.fixture
def lines():
    return TailLines(Answers())


def test_an_event_has_its_cursor_and_its_json(lines):
    line = orjson.loads(lines.event("w-1", b'{"n":1}'))

    assert line == {"is": "event", "cursor": "w-1", "event": {"n": 1}}
    assert lines.counts == {"shown": 1, "missed": 0}


def test_an_event_that_is_too_long_is_a_gap(lines):
    line = orjson.loads(lines.event("w-1", b'"%b"' % (b"x" * MAX_LINE)))

    assert line == {"is": "gap", "missed": 1, "reason": "too_large", "cursor": "w-1"}
    assert lines.counts == {"shown": 0, "missed": 1}


def test_a_gap_without_a_number_is_not_counted(lines):
    assert orjson.loads(lines.gap(None, "expired", "w-1"))["missed"] is None
    assert lines.counts == {"shown": 0, "missed": 0}
