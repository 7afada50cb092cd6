"""The contract of a source: a subclass has the fixture ``peers``, a source with its peers."""

import asyncio

import pytest
from support.consuming import ticks, until
from support.sources import line, lines

import edr


async def stay_false(condition):
    """Check that nothing brings ``condition`` about: many turns of the loop, and real input."""
    for _ in range(20):
        await asyncio.sleep(0.001)
        assert not condition()


class SourceContract:
    async def test_answer_comes_after_the_commit(self, peers, journal):
        peer = await peers.start()
        journal.hold()
        peer.send(lines(1, 2))
        ending = asyncio.ensure_future(peer.end())
        await until(lambda: len(journal.accepted) == 2)
        await stay_false(ending.done)
        assert peers.source.statistics().accepted == 0
        journal.release()

        assert await ending == {"accepted": 2, "refused": []}
        assert journal.numbers == [1, 2]
        assert peers.source.statistics().accepted == 2

    async def test_events_keep_the_order_of_their_lines(self, peers, journal):
        peer = await peers.start()
        peer.send(lines(*range(300)))

        assert (await peer.end())["accepted"] == 300
        assert journal.numbers == list(range(300))

    async def test_subscribers_receive_the_events(self, peers, bus):
        peer = await peers.start()
        async with bus.subscribe() as subscription:
            peer.send(lines(1))
            await peer.end()

            assert (await anext(subscription)).body == {"n": 1}

    async def test_wrong_lines_are_refused_and_the_others_stored(self, peers, journal):
        peer = await peers.start()
        peer.send(lines(1) + b"{\n" + line(3, severity="bad") + lines(4) + b"[]\n")
        answer = await peer.end()

        assert answer["accepted"] == 2
        assert [(each["line"], each["path"]) for each in answer["refused"]] == [
            (2, ""),
            (3, "severity"),
            (5, ""),
        ]
        assert "critical" in answer["refused"][1]["reason"]
        assert journal.numbers == [1, 4]
        statistics = peers.source.statistics()
        assert (statistics.accepted, statistics.refused) == (2, 3)

    async def test_event_that_the_journal_refuses_is_named(self, peers, journal):
        peer = await peers.start()
        journal.refuses = {*range(0, 200, 2)}
        peer.send(lines(*range(200)))
        answer = await peer.end()

        assert answer["accepted"] == 100
        assert [each["line"] for each in answer["refused"]] == [*range(1, 201, 2)]
        assert answer["refused"][0] == {"line": 1, "path": "", "reason": "too odd"}

    async def test_body_above_the_limit_is_refused_alone(self, peers, journal, bus):
        peer = await peers.start()
        peer.send(lines(1) + line(2, body={"n": 2, "a": "x" * bus.max_body}) + lines(3))
        answer = await peer.end()

        assert answer["accepted"] == 2
        assert [(each["line"], each["path"]) for each in answer["refused"]] == [(2, "body")]
        assert journal.numbers == [1, 3]

    async def test_missing_fields_are_filled_in_and_given_ones_kept(self, peers, journal, bus):
        peer = await peers.start()
        given = edr.Event(
            app_name="app", app_version="1", severity="ok", verbosity="info", body={"n": 1}
        )
        peer.send(given.to_json() + b"\n" + line(2))
        await peer.end()
        kept, filled = journal.stored

        assert kept == given
        assert filled.node == bus.node
        assert filled.id
        assert filled.timestamp.tzinfo is not None

    async def test_stop_and_close_may_be_repeated(self, peers):
        await peers.source.drain()
        await peers.source.aclose()
        await peers.source.drain()

        assert peers.source.statistics().state == "stopped"

    async def test_source_is_a_part(self, peers):
        await peers.start()
        status = peers.source.status()

        assert (peers.source.kind, tuple(peers.source.bindings)) == ("source", ())
        assert {"state", "offered", "delivered", "lost", "error"} <= status.keys()
        assert status["state"] == "running"


class StreamContract(SourceContract):
    """The contract of a source that reads and stores while its peer is sending."""

    async def test_source_does_not_read_while_the_journal_has_no_room(self, peers, journal):
        peer = await peers.start()
        journal.hold()
        journal.size = 2
        peer.send(lines(1, 2))
        await until(lambda: len(journal.accepted) == 2)
        peer.send(lines(3, 4))
        ending = asyncio.ensure_future(peer.end())
        await stay_false(lambda: len(journal.accepted) > 2 or ending.done())
        journal.release()

        assert (await ending)["accepted"] == 4
        assert journal.numbers == [1, 2, 3, 4]

    async def test_source_waits_while_the_journal_cannot_store(self, peers, journal):
        journal.error = "disk full"
        peer = await peers.start()
        peer.send(lines(1))
        ending = asyncio.ensure_future(peer.end())
        await stay_false(ending.done)
        assert peers.source.status()["state"] == "waiting"
        journal.error = None

        assert await ending == {"accepted": 1, "refused": []}

    async def test_stop_answers_the_lines_that_were_read(self, peers, journal):
        peer = await peers.start()
        journal.hold()
        peer.send(lines(1, 2) + b'{"app_name": "app", "cut":')
        await until(lambda: len(journal.accepted) == 2)
        peer.send(lines(8, 9))
        stopping = asyncio.ensure_future(peers.source.drain())
        await stay_false(stopping.done)
        assert peers.source.statistics().state == "stopping"
        journal.release()
        await stopping
        answer = await peer.answer()

        assert answer["accepted"] == 2
        assert answer["not_stored"] == {"line": 3, "reason": "the source has stopped"}
        assert journal.numbers == [1, 2]
        assert peers.source.statistics().state == "stopped"

    async def test_stop_ends_a_source_that_waits_for_the_journal(self, peers, journal):
        peer = await peers.start()
        journal.error = "disk full"
        peer.send(lines(1))
        await until(lambda: peers.source.statistics().connections == 1)
        await peers.source.drain()

        assert "not_stored" in await peer.answer()
        assert journal.stored == []

    @pytest.mark.parametrize("turns", [1, 2, 5])
    async def test_cancelled_stop_stops_nevertheless(self, peers, journal, turns):
        peer = await peers.start()
        journal.hold()
        peer.send(lines(1))
        await until(lambda: journal.accepted)
        stopping = asyncio.ensure_future(peers.source.drain())
        await ticks(turns)
        stopping.cancel()
        await ticks()
        journal.release()

        assert (await peer.answer())["accepted"] == 1

    async def test_close_ends_at_once_without_an_answer(self, peers, journal):
        peer = await peers.start()
        journal.hold()
        peer.send(lines(1))
        await until(lambda: journal.accepted)
        await peers.source.aclose()

        assert peers.source.statistics().accepted == 0
        assert peers.source.statistics().state == "stopped"

    async def test_account_tree_of_a_local_sender_is_filled_in_or_kept(
        self, peers, journal, accounts
    ):
        accounts.add("shop", "acme")
        peer = await peers.start()
        peer.send(line(1, account_id="shop") + line(2, account_id="shop", account_tree=["other"]))
        await peer.end()

        assert [event.account_tree for event in journal.stored] == [("acme",), ("other",)]
