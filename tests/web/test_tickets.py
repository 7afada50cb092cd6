import pytest

from edr.web import Grant
from edr.web.authentication import Identity
from edr.web.refusals import RefusedError
from edr.web.tickets import LIFETIME, MAX_PER_ACCOUNT, Tickets

ACME = Identity(Grant("acme"), "t")


def test_ticket_is_valid_once():
    tickets = Tickets()
    text = tickets.issue(ACME)
    identity = tickets.redeem(text)

    assert (identity.grant, identity.token) == (Grant("acme"), "t")
    assert tickets.redeem(text) is None
    assert tickets.redeem("x") is None


def test_ticket_expires():
    now = 0.0
    tickets = Tickets(lambda: now)
    texts = [tickets.issue(ACME) for _ in range(2)]
    now = LIFETIME
    assert tickets.redeem(texts[0]) is None
    tickets.issue(ACME)

    assert len(tickets) == 1


def test_unused_tickets_of_an_account_are_limited():
    tickets = Tickets()
    for _ in range(MAX_PER_ACCOUNT):
        tickets.issue(ACME)
    with pytest.raises(RefusedError) as caught:
        tickets.issue(ACME)

    assert caught.value.status == 429
    assert tickets.issue(Identity(Grant("globex"), "t"))
