import pytest

from edr.web.limits import ClientCounts, Limits, network_of
from edr.web.refusals import RefusedError


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (True, TypeError), ("9", TypeError)])
def test_limit_must_be_a_whole_number_above_0(value, error):
    with pytest.raises(error, match="per_address must be"):
        Limits(per_address=value)


@pytest.mark.parametrize(("limits", "addresses"), [
    ({"clients": 2}, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    ({"per_address": 2}, ["10.0.0.1"] * 3),
    ({"per_address": 2}, ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
])  # fmt: skip
def test_client_over_a_limit_is_refused(limits, addresses):
    counts = ClientCounts(Limits(**limits))
    first, *others, last = addresses
    seats = [counts.enter(address) for address in (first, *others)]
    with pytest.raises(RefusedError) as caught:
        counts.enter(last)
    seats[0].leave()

    assert caught.value.status == 429
    counts.enter(last)


def test_account_over_its_limit_is_refused():
    counts = ClientCounts(Limits(per_account=1))
    counts.enter("a").take_account("acme")
    with pytest.raises(RefusedError), counts.enter("b") as seat:
        seat.take_account("acme")
    counts.enter("c").take_account("globex")

    assert counts.by_account == {"acme": 1, "globex": 1}


def test_seat_that_is_left_twice_is_counted_once():
    counts = ClientCounts(Limits())
    with counts.enter("a") as seat:
        seat.take_account(None)
        seat.leave()

    assert (counts.total, counts.by_account, counts.by_address) == (0, {}, {})


@pytest.mark.parametrize(("address", "network"), [
    ("10.0.0.1", "10.0.0.1"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
    ("fe80::1%eth0", "fe80::/64"),
    ("", ""),
])  # fmt: skip
def test_network_of_an_address(address, network):
    assert network_of(address) == network
