import pytest

from edr.streams import Grant
from edr.streams.grant import cut_event


def of(make_event, account_id, *tree):
    return make_event(account_id=account_id, account_tree=tree)


def test_grant_shows_its_account_and_those_below(make_event):
    grant = Grant("reseller")

    assert grant.sees(of(make_event, "reseller", "root"))
    assert grant.sees(of(make_event, "branch", "root", "reseller"))
    assert not grant.sees(of(make_event, "root"))
    assert not grant.sees(of(make_event, "sibling", "root"))


def test_grant_compares_whole_ids(make_event):
    assert not Grant("res").sees(of(make_event, "reseller", "root"))
    assert not Grant("res").sees(of(make_event, "branch", "reseller"))
    assert not Grant("reseller").sees(of(make_event, "res"))
    assert not Grant("*").sees(of(make_event, "reseller"))


def test_events_without_known_ancestors_are_for_operators_only(make_event):
    for event in (of(make_event, None), of(make_event, "branch")):
        assert not Grant("reseller").sees(event)
        assert Grant.everything().sees(event)


def test_cut_removes_the_accounts_above_the_grant(make_event):
    event = of(make_event, "branch", "root", "reseller")

    trees = {
        grant: cut_event(event, Grant(grant).cut(event)).account_tree
        for grant in ("root", "reseller", "branch")
    }
    assert trees == {"root": ("root", "reseller"), "reseller": ("reseller",), "branch": ()}
    assert cut_event(event, Grant.everything().cut(event)) is event


@pytest.mark.parametrize("account", [None, 5, ""])
def test_grant_needs_an_account(account):
    with pytest.raises((TypeError, ValueError), match="account must be"):
        Grant(account)


def test_grants_are_equal_if_they_show_the_same():
    assert Grant("a", expires="soon") == Grant("a") != Grant("b")
    assert Grant.everything(expires="soon") == Grant.everything() != Grant("*")
    assert len({Grant("a"), Grant("a", expires="soon"), Grant.everything()}) == 2
    assert repr(Grant("a")), repr(Grant.everything()) == ("Grant('a')", "Grant.everything()")
