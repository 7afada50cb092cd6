"""Excerpts of error pages: one printable line, and never a secret of the request."""

import pytest

from edr.sinks.http_excerpt import MAX_LENGTH, Excerpts

URL = "https://user:hunter2@example.test/hooks/T0123456789abcdef?token=tok%2Fen"
HEADERS = {"Authorization": "Bearer abcdefghijklmnop", "X-Key": "k3y!"}


def test_an_excerpt_is_one_printable_line_of_limited_length():
    excerpts = Excerpts("http://example.test/", {})
    assert excerpts.of(b"no\r\n\tsuch\x1b[31m field\x00") == "no such [31m field"
    assert excerpts.of(b"\xff\xfe") == "\ufffd\ufffd"
    assert len(excerpts.of(b"x" * 1000)) == MAX_LENGTH + 1
    assert excerpts.of(b"") == ""


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "/hooks/T0123456789abcdef not found",
        "/hooks/T0123456… not found",
        "tok%2Fen",
        "token 'abcdefghijklmnop' is not valid",
        "Authorization: Bearer abcdefgh…",
        "dXNlcjpodW50ZXIy",
        "k3y!",
        "%68unter2",
    ],
)
def test_a_body_that_repeats_a_secret_is_not_shown(text):
    assert Excerpts(URL, HEADERS).of(f"error: {text}".encode()) == ""


def test_other_bodies_are_shown_next_to_secrets():
    assert Excerpts(URL, HEADERS).of(b"Bearer token expired") == "Bearer token expired"
