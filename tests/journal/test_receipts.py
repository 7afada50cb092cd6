import asyncio

import pytest
from contracts.journal import event

from edr.journal import EventsRefusedError, JournalFullError
from edr.journal.errors import Refusal
from edr.journal.receipts import Receipts

REFUSAL = Refusal(event(1), "too large")


async def test_receipt_returns_the_position_of_its_last_event():
    receipts = Receipts()
    first, second = receipts.expect(1, 2), receipts.expect(3, 5)
    receipts.settled(4, 104)
    assert await first == 102
    assert receipts
    receipts.settled(5, 105)
    assert await second == 105
    assert not receipts


async def test_refusal_is_raised_only_for_its_own_event():
    receipts = Receipts()
    first, second = receipts.expect(1, 1), receipts.expect(2, 2)
    receipts.refused(1, REFUSAL)
    receipts.settled(2, 1)
    with pytest.raises(EventsRefusedError) as caught:
        await first
    assert caught.value.refusals == (REFUSAL,)
    assert await second == 1
    receipts.check()  # it was reported


async def test_refusal_without_a_waiting_call_is_reported_once():
    receipts = Receipts()
    receipts.refused(1, REFUSAL)
    flush, next_flush = receipts.expect_all(1), receipts.expect_all(1)
    receipts.settled(1, 0)
    with pytest.raises(EventsRefusedError):
        await flush
    assert await next_flush == 0
    receipts.check()


async def test_refusal_of_a_cancelled_call_is_reported_later():
    receipts = Receipts()
    receipt = receipts.expect(1, 1)
    receipts.refused(1, REFUSAL)
    receipt.cancel()
    receipts.settled(1, 0)
    with pytest.raises(asyncio.CancelledError):
        await receipt
    with pytest.raises(EventsRefusedError):
        receipts.check()


async def test_fail_raises_another_copy_in_each_waiting_call():
    receipts, error = Receipts(), JournalFullError("full")
    waiting = [receipts.expect(n, n) for n in (1, 2)]
    receipts.fail(error)
    raised = []
    for receipt in waiting:
        with pytest.raises(JournalFullError, match="full") as caught:
            await receipt
        raised.append(caught.value)
    assert len({id(each) for each in [error, *raised]}) == 3
