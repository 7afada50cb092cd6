import orjson

from edr.sources import Answer, NotStored, Refused, Reply
from edr.sources.answers import MAX_REFUSED, MAX_TEXT


def test_answer_of_accepted_lines_has_two_fields():
    assert Answer(2).to_json() == b'{"accepted":2,"refused":[]}'


def test_answer_lists_refused_lines_by_number():
    reply = Reply()
    reply.refuse(3, "", "second")
    reply.refuse(1, "body.a", "first")

    assert reply.answer().refused == (Refused(1, "body.a", "first"), Refused(3, "", "second"))
    assert orjson.loads(reply.answer().to_json()) == {
        "accepted": 0,
        "refused": [
            {"line": 1, "path": "body.a", "reason": "first"},
            {"line": 3, "path": "", "reason": "second"},
        ],
    }


def test_answer_counts_refused_lines_that_it_does_not_list():
    reply = Reply()
    for number in range(MAX_REFUSED + 5):
        reply.refuse(number, "", "no")

    assert len(reply.answer().refused) == MAX_REFUSED
    assert orjson.loads(reply.answer().to_json())["omitted"] == 5


def test_answer_names_the_first_line_that_was_not_stored():
    reply = Reply()
    reply.fail(4, "disk full")
    reply.fail(5, "later")

    assert reply.answer().not_stored == NotStored(4, "disk full")
    assert orjson.loads(reply.answer().to_json())["not_stored"] == {
        "line": 4,
        "reason": "disk full",
    }


def test_reason_is_cut_and_can_be_encoded():
    reply = Reply()
    reply.refuse(1, "\ud800", "x" * (MAX_TEXT + 1))
    (refused,) = orjson.loads(reply.answer().to_json())["refused"]

    assert refused == {"line": 1, "path": "?", "reason": "x" * (MAX_TEXT - 1) + "…"}
