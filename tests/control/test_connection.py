"""A connection over a pair of sockets, with requests that the tests control."""

import asyncio
import os
import socket

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shuffled_loop import run

from edr.control import connection as module
from edr.control.connection import MAX_REQUESTS, Connection, RequestError, error_line
from edr.control.protocol import MAX_BATCH, MAX_LINE

HELLO = b'{"edr":1}\n'


class Peer:
    """The client's side, and the requests that it makes."""

    def __init__(self, reader, writer, serving, connection, faults):
        self.reader, self.writer = reader, writer
        self.serving, self.connection, self.faults = serving, connection, faults

    def send(self, *messages):
        for each in messages:
            self.writer.write(each if isinstance(each, bytes) else orjson.dumps(each) + b"\n")

    async def take(self, count=1):
        lines = [await self.reader.readuntil(b"\n") for _ in range(count)]
        messages = [orjson.loads(line) for line in lines]
        return messages[0] if count == 1 else messages

    async def end(self):
        self.writer.transport.abort()
        await self.serving


def start(request):
    do = request.get("do")

    async def answer(answers):
        if do == "echo":
            await answers.send("echo", {"text": request["text"]})
        elif do == "hang":
            await asyncio.Future()
        elif do == "watch":
            try:
                await asyncio.Future()
            finally:
                answers.end = {"closing": answers.is_closing}
        elif do == "flood":
            while True:
                await answers.send("line", {"text": "x" * 1000})
        elif do == "big":
            await answers.send("big", {"text": "x" * MAX_LINE})
        elif do == "fault":
            raise ZeroDivisionError("of amqp://u:secret@host")
        answers.end = {"done": True}

    if do in ("echo", "hang", "watch", "flood", "big", "fault"):
        return answer
    raise RequestError("unknown_request", "none", "do")


async def opened():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    loop, faults = asyncio.get_running_loop(), []
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=2 * MAX_LINE)
    their_reader = asyncio.StreamReader(limit=MAX_LINE)
    protocol = asyncio.StreamReaderProtocol(their_reader)
    theirs.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, theirs)
    their_writer = asyncio.StreamWriter(transport, protocol, their_reader, loop)
    connection = Connection(their_reader, their_writer, start, faults.append)
    serving = asyncio.ensure_future(connection.serve(HELLO))
    return Peer(reader, writer, serving, connection, faults)


@pytest.fixture
async def peer():
    peer = await opened()
    assert await peer.take() == {"edr": 1}
    yield peer
    await peer.end()


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_request_ends_with_end(peer):
    peer.send({"id": 1, "do": "echo", "text": "hi"})

    assert await peer.take(2) == [
        {"id": 1, "is": "echo", "text": "hi"},
        {"id": 1, "is": "end", "done": True},
    ]


async def test_several_requests_are_open_at_once(peer):
    peer.send({"id": "a", "do": "hang"}, {"id": 2, "do": "echo", "text": ""})

    assert [each["id"] for each in await peer.take(2)] == [2, 2]
    peer.send({"id": "a", "do": "stop"})
    assert await peer.take() == {"id": "a", "is": "end"}


async def test_an_id_can_be_used_again_after_its_end(peer):
    for _ in range(3):
        peer.send({"id": 1, "do": "echo", "text": ""})

        assert (await peer.take(2))[1]["is"] == "end"


async def test_an_id_in_use_is_refused(peer):
    peer.send({"id": 1, "do": "hang"}, {"id": 1, "do": "hang"})

    assert (await peer.take())["code"] == "duplicate_id"


async def test_stop_of_an_unknown_request_is_ignored(peer):
    peer.send({"id": 9, "do": "stop"}, {"id": 1, "do": "echo", "text": ""})

    assert (await peer.take(2))[1]["id"] == 1


async def test_a_request_that_is_stopped_at_once_ends(peer):
    peer.send(b'{"id":1,"do":"hang"}\n{"id":1,"do":"stop"}\n')

    assert await peer.take() == {"id": 1, "is": "end"}
    assert peer.connection.requests == 0


async def test_a_second_stop_does_not_take_the_end_away(peer):
    peer.send({"id": 1, "do": "hang"})
    await turns()
    peer.send({"id": 1, "do": "stop"}, {"id": 1, "do": "stop"})

    assert await peer.take() == {"id": 1, "is": "end"}


async def test_more_requests_than_the_limit_are_refused(peer):
    peer.send(*[{"id": n, "do": "hang"} for n in range(MAX_REQUESTS + 1)])

    error = await peer.take()
    assert (error["id"], error["code"]) == (MAX_REQUESTS, "too_many_requests")
    assert peer.connection.requests == MAX_REQUESTS


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"no json\n", "invalid_json"),
        (b"\xff\n", "invalid_json"),
        (b"\n", "invalid_json"),
        (b"[]\n", "invalid_json"),
        (b'{"id":1,"do":NaN}\n', "invalid_json"),
        (b"[" * 100_000 + b"\n", "invalid_json"),
        (b'{"id":' + b"9" * 30 + b"}\n", "invalid_request"),
        (b"{}\n", "invalid_request"),
        (b'{"id":true,"do":"echo"}\n', "invalid_request"),
        (b'{"id":1.5,"do":"echo"}\n', "invalid_request"),
        (b'{"id":"","do":"echo"}\n', "invalid_request"),
        (b'{"id":"' + b"x" * 65 + b'"}\n', "invalid_request"),
        (b'{"id":1}\n', "unknown_request"),
        (b'{"id":1,"do":["stop"]}\n', "unknown_request"),
        (b" " * MAX_LINE + b"{}\n", "line_too_long"),
        (b" " * 3 * MAX_LINE + b"\n", "line_too_long"),
    ],
)
async def test_an_invalid_line_is_answered_and_the_connection_continues(peer, line, code):
    peer.send(line, {"id": 1, "do": "echo", "text": ""})

    assert (await peer.take())["code"] == code
    assert (await peer.take())["is"] == "echo"


async def test_the_longest_line_is_accepted(peer):
    head = b'{"id":1,"do":"hang","text":"'
    peer.send(head + b"x" * (MAX_LINE - len(head) - 3) + b'"}\n')
    await turns(200)

    assert peer.connection.requests == 1


async def test_an_answer_that_is_too_long_is_an_error(peer):
    peer.send({"id": 1, "do": "big"})

    assert (await peer.take())["code"] == "too_large"


async def test_a_fault_is_reported_and_the_connection_continues(peer):
    peer.send({"id": 1, "do": "fault"})

    error = await peer.take()
    assert (error["code"], error["detail"]) == ("failed", "ZeroDivisionError: of amqp://…@host")
    assert [type(each) for each in peer.faults] == [ZeroDivisionError]
    peer.send({"id": 1, "do": "echo", "text": ""})
    assert (await peer.take())["is"] == "echo"


def buffered(peer):
    return peer.connection._writer.transport.get_write_buffer_size()


async def test_a_client_that_does_not_read_costs_a_bounded_buffer(peer):
    peer.writer.transport.pause_reading()
    peer.send(*[{"id": n, "do": "flood"} for n in range(MAX_REQUESTS)])
    await turns(5000)

    assert 0 < buffered(peer) < MAX_BATCH + 2000


async def test_a_client_that_does_not_read_is_not_read(peer):
    peer.writer.transport.pause_reading()
    for _ in range(10):
        peer.send(*[b"x" * 1000 + b"\n"] * 1000)
        await turns(500)

    assert buffered(peer) < MAX_BATCH + 2000
    assert peer.writer.transport.get_write_buffer_size() > 10**6


async def test_a_stopped_flood_ends_when_the_client_reads_again(peer):
    peer.writer.transport.pause_reading()
    peer.send({"id": 1, "do": "flood"})
    await turns(2000)
    for _ in range(2):  # the second one must not take its end away
        peer.send({"id": 1, "do": "stop"})
        await turns()
    peer.writer.transport.resume_reading()

    while (await peer.take())["is"] != "end":
        pass
    assert peer.connection.requests == 0


async def test_closing_ends_each_request_and_says_goodbye(peer):
    peer.send({"id": 1, "do": "watch"}, {"id": 2, "do": "watch"})
    await turns()
    await peer.connection.close(b'{"is":"bye"}\n')

    assert [each["is"] for each in await peer.take(3)] == ["end", "end", "bye"]
    assert await peer.reader.read() == b""


async def test_a_request_without_an_answer_is_an_error_when_the_process_ends(peer):
    peer.send({"id": 1, "do": "hang"})
    await turns()
    await peer.connection.close()

    assert (await peer.take())["code"] == "bus_closed"


@pytest.mark.skipif("EDR_EAGER" in os.environ, reason="an eager task has begun")
async def test_a_request_that_had_not_begun_is_an_error_when_the_process_ends(peer):
    await peer.connection._take(b'{"id":1,"do":"watch"}')  # its task has not run yet
    await peer.connection.close()

    assert (await peer.take())["code"] == "bus_closed"


async def test_a_request_is_told_whether_its_client_or_the_process_ends_it(peer):
    peer.send({"id": 1, "do": "watch"}, {"id": 2, "do": "watch"})
    await turns()
    peer.send({"id": 1, "do": "stop"})
    assert (await peer.take())["closing"] is False
    await peer.connection.close()

    assert (await peer.take())["closing"] is True


async def test_the_end_of_a_client_ends_its_requests():
    peer = await opened()
    peer.send({"id": 1, "do": "flood"}, {"id": 2, "do": "hang"})
    await turns()
    peer.writer.transport.abort()
    await peer.serving

    assert peer.connection.requests == 0
    assert peer.faults == []


def test_answers_are_complete_after_the_last_line_of_a_client():
    async def main():
        peer = await opened()
        peer.send({"id": 1, "do": "echo", "text": "x"}, {"id": 2, "do": "hang"})
        peer.writer.write_eof()
        read = await peer.reader.read()
        await peer.end()
        return [orjson.loads(line).get("is") for line in read.splitlines()]

    assert run(main) == [None, "echo", "end", "error"]


@pytest.mark.parametrize("seed", range(20))
def test_cancelling_at_any_moment_leaves_nothing(seed):
    async def main():
        peer = await opened()
        peer.send({"id": 1, "do": "flood"}, {"id": 2, "do": "hang"}, b"x\n")
        await turns(seed + 1)
        peer.serving.cancel()
        await asyncio.wait([peer.serving])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        peer.writer.close()
        return left, peer.connection.requests

    assert run(main, seed) == (set(), 0)


@given(st.lists(st.binary(max_size=200) | st.sampled_from([b'{"id":1,"do":"echo"}', b"\n"])))
def test_no_bytes_end_the_connection(chunks):
    async def main():
        peer = await opened()
        await peer.take()
        for chunk in chunks:
            peer.send(chunk)
            await turns(3)
        peer.send(b"\n", {"id": "last", "do": "echo", "text": "x"})
        async with asyncio.timeout(5):
            while True:
                answer = await peer.take()
                if answer.get("id") == "last":
                    break
                assert answer["is"] in ("error", "echo", "end")
        await peer.end()
        return [type(each) for each in peer.faults]

    assert set(run(main)) <= {KeyError}  # the echo of a request without a text


def test_an_error_without_an_id_concerns_the_connection():
    error = RequestError("invalid_json", "x\ud800")

    assert orjson.loads(error_line(error)) == {
        "is": "error",
        "code": "invalid_json",
        "detail": "x?",
    }
    assert module.MAX_REQUESTS == 16
