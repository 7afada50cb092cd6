import pytest

from edr.cli.emitting import emit_one, unfinished
from edr.cli.exits import CommandError, Exit
from edr.control import ConnectionLostError, RemoteError


class Process:
    """A client whose process answers each request with a message or an error."""

    def __init__(self, answer):
        self.answer = answer

    async def ask(self, do, **fields):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_answer_of_the_process_is_returned():
    answer = {"is": "emitted", "event_id": "a", "matched": 2}
    assert await emit_one(Process(answer), "line 1", {}) == answer


async def test_request_that_ends_without_an_answer_is_a_lost_connection():
    with pytest.raises(ConnectionLostError, match="before the process had answered"):
        await emit_one(Process({"is": "end"}), "line 1", {})


@pytest.mark.parametrize(
    "refusal", [RemoteError("invalid_event", "event.body", "wrong"), ValueError("wrong")]
)
async def test_event_that_is_refused_is_bad_input_of_its_line(refusal):
    with pytest.raises(CommandError, match="^line 1: .*wrong") as caught:
        await emit_one(Process(refusal), "line 1", {})

    assert caught.value.exit is Exit.BAD_INPUT


async def test_other_refusals_are_those_of_the_process():
    with pytest.raises(RemoteError, match="no"):
        await emit_one(Process(RemoteError("not_allowed", "do", "no")), "line 1", {})


@pytest.mark.parametrize(
    ("error", "done", "is_unfinished"),
    [
        (ConnectionLostError("gone"), 1, True),
        (RemoteError("bus_closed", "", "ended"), 1, True),
        (RemoteError("not_allowed", "do", "no"), 1, False),
        (ConnectionLostError("gone"), 0, False),
        (KeyboardInterrupt(), 1, False),
    ],
)
def test_process_that_ends_after_the_first_event_leaves_work(error, done, is_unfinished):
    found = unfinished(error, done)

    assert (found is not None and found.exit is Exit.UNFINISHED) == is_unfinished
