import asyncio

import pytest
from support.consuming import ticks, until
from support.sources import HeldJournal, line

import edr
from edr.errors import EventsRefusedError, JournalError, Refusal
from edr.sources import LOCAL, Document, Ingest, Reply, Sender

TENANT = Sender(account="acme")


def documents_of(reply, *data):
    return [Document(reply, reply.add_line(), each) for each in data]


async def test_bus_without_a_journal_is_refused():
    async with edr.Bus() as bus:
        with pytest.raises(ValueError, match="journal"):
            Ingest(bus)


async def test_documents_of_one_call_share_a_commit(ingest, journal):
    reply = Reply()
    journal.hold()
    storing = asyncio.ensure_future(ingest.store(documents_of(reply, line(1), line(2))))
    await until(lambda: len(journal.accepted) == 2)
    assert reply.accepted == 0
    journal.release()

    assert (await storing).accepted == 2
    assert reply.accepted == 2


async def test_each_reply_receives_its_own_results(ingest):
    one, two = Reply(), Reply()
    stored = await ingest.store([*documents_of(one, line(1), b"{"), *documents_of(two, line(2))])

    assert (stored.accepted, stored.refused) == (2, 1)
    assert (one.accepted, one.refused_count, two.accepted, two.refused_count) == (1, 1, 1, 0)


async def test_failed_journal_counts_no_line(ingest, journal, caplog):
    reply = Reply()
    await ingest.store(documents_of(reply, line(1)))
    journal.hold()
    storing = asyncio.ensure_future(ingest.store(documents_of(reply, b"{", line(3))))
    await until(lambda: journal.accepted)
    journal.fail("disk full")
    stored = await storing

    assert stored == (0, 0, "disk full", None)
    assert reply.answer() == (1, (), 0, (2, "disk full"))
    assert "1 events of a source were not stored: disk full" in caplog.text


async def test_closed_bus_counts_no_line(bus, ingest):
    await bus.aclose()
    reply = Reply()
    stored = await ingest.store(documents_of(reply, line(1)))

    assert stored.error
    assert reply.answer().not_stored.line == 1


async def test_same_events_are_published_again(ingest, journal, monkeypatch):
    monkeypatch.setattr("edr.sources.ingest.RECHECK", 0)
    reply = Reply()
    journal.hold()
    storing = asyncio.ensure_future(
        ingest.store(documents_of(reply, line(1)), tries_again=lambda: True)
    )
    await until(lambda: journal.accepted)
    (event, _) = journal.accepted[0]
    journal.fail("disk full")
    await ticks(20)
    journal.error = None
    journal.release()

    assert (await storing).accepted == 1
    assert journal.stored == [event]


async def test_refusals_that_are_not_all_named_count_no_line(ingest, journal):
    class Hasty(HeldJournal):
        def submit(self, event):
            raise EventsRefusedError([Refusal(event, "odd")], count=50)

    async with edr.Bus(journal=Hasty()) as bus:
        reply = Reply()
        stored = await Ingest(bus).store(documents_of(reply, line(1), line(2)))

    assert stored.accepted == 0
    assert reply.answer().not_stored.line == 1


async def test_cancelled_call_notes_nothing(ingest, journal):
    reply = Reply()
    journal.hold()
    storing = asyncio.ensure_future(ingest.store(documents_of(reply, line(1))))
    await until(lambda: journal.accepted)
    storing.cancel()
    await asyncio.wait([storing])

    assert storing.cancelled()
    assert reply.answer() == (0, (), 0, None)
    journal.release()
    await ticks()


async def test_tenant_emits_for_its_account_and_those_below(ingest, journal):
    reply = Reply()
    documents = documents_of(
        reply,
        line(1, account_id="acme"),
        line(2, account_id="shop"),
        line(3, account_id="other"),
        line(4, account_id="root"),
        line(5),
        line(6, account_id="unknown"),
    )
    await ingest.store(documents, sender=TENANT)

    assert journal.numbers == [1, 2]
    assert [each[:2] for each in reply.answer().refused] == [
        (number, "account_id") for number in (3, 4, 5, 6)
    ]
    assert reply.answer().refused[0].reason == (
        "must be account 'acme' or a descendant of it, got 'other'"
    )


async def test_tree_of_a_tenant_comes_from_the_accounts(ingest, journal):
    reply = Reply()
    forged = [
        line(1, account_id="shop", account_tree=["victim"]),
        line(2, account_id="other", account_tree=["acme"]),  # not below acme
    ]
    await ingest.store(documents_of(reply, *forged), sender=TENANT)

    assert [event.account_tree for event in journal.stored] == [("root", "acme")]
    assert reply.answer().refused[0].line == 2


@pytest.mark.parametrize(
    ("sender", "tree"), [(LOCAL, ("victim",)), (Sender(), ()), (Sender(account="new"), ())]
)
async def test_tree_of_an_unknown_account_is_kept_for_local_senders_only(
    ingest, journal, sender, tree
):
    forged = line(1, account_id="new", account_tree=["victim"])
    await ingest.store(documents_of(Reply(), forged), sender=sender)

    assert [event.account_tree for event in journal.stored] == [tree]


async def test_tree_without_an_account_is_removed(ingest, journal):
    await ingest.store(documents_of(Reply(), line(1, account_tree=["victim"])), sender=Sender())

    assert [event.account_tree for event in journal.stored] == [()]


async def test_ready_waits_for_room_and_for_the_end_of_a_fault(ingest, journal, monkeypatch):
    monkeypatch.setattr("edr.sources.ingest.RECHECK", 0)
    assert ingest.error is None
    journal.error = "disk full"
    waiting = asyncio.ensure_future(ingest.ready())
    await ticks(20)
    assert not waiting.done()
    assert ingest.error == "disk full"
    journal.error = None

    await waiting


async def test_ready_waits_for_room_after_a_fault(ingest, journal, monkeypatch):
    monkeypatch.setattr("edr.sources.ingest.RECHECK", 0)
    journal.error, journal.size = "disk full", 0
    waiting = asyncio.ensure_future(ingest.ready())
    await ticks(20)
    journal.error = None
    await ticks(20)
    assert not waiting.done()
    journal.size = 1
    journal.release()

    await waiting


async def test_ready_raises_when_the_journal_is_closed(bus, ingest):
    await bus.aclose()
    with pytest.raises(JournalError):
        await ingest.ready()


async def test_decoding_of_many_documents_yields_to_the_loop(ingest, make_event):
    turns, seen = 0, []
    event = make_event(body={"n": 1})

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def decode(_data, _node):
        seen.append(turns)
        return event

    counting = asyncio.ensure_future(count_turns())
    reply = Reply()
    await ingest.store(documents_of(reply, *[b""] * 400), decode=decode)
    counting.cancel()

    assert len(set(seen)) == 4  # after 127, 255 and 383 documents
