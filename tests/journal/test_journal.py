"""The interface, its two implementations, and the contract that they share."""

import inspect
import re

import pytest
from contracts import consumers as consumer_contract
from contracts import journal as contract

from edr.journal.journal import Consumer, Cursor, Journal

PAIRS = [
    (Journal, "edr.journal.sqlite", "SqliteJournal"),
    (Cursor, "edr.journal.cursor", "SqliteCursor"),
    (Consumer, "edr.journal.consumer", "SqliteConsumer"),
    (Journal, "edr.links.jetstream", "JetStreamJournal"),
    (Cursor, "edr.links.stream_cursor", "StreamCursor"),
    (Consumer, "edr.links.stream_consumer", "StreamConsumer"),
]

OUTSIDE_THE_CONTRACT = {"bindings", "report_refused", "room", "set_bindings"}
"""A bus uses them; ``room`` is tested with each implementation."""


@pytest.fixture(params=PAIRS, ids=[name for *_, name in PAIRS])
def pair(request):
    """An interface, and a class that implements it."""
    interface, module, name = request.param
    return interface, getattr(pytest.importorskip(module, reason="needs nats: edr[nats]"), name)


def members(interface):
    """Return the public members of an interface, by name."""
    return {n: each for n, each in inspect.getmembers(interface) if not n.startswith("_")}


def parameters(function):
    """Return the names, kinds and defaults of parameters, without types."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


def test_methods_take_the_parameters_of_the_interface(pair):
    interface, implementation = pair
    for name, member in members(interface).items():
        if inspect.isfunction(member):
            assert parameters(getattr(implementation, name)) == parameters(member), name


def test_methods_are_async_where_the_interface_is(pair):
    interface, implementation = pair
    for name, member in members(interface).items():
        if inspect.isfunction(member):
            is_async = inspect.iscoroutinefunction(getattr(implementation, name))
            assert is_async is inspect.iscoroutinefunction(member), name


@pytest.mark.parametrize("interface", [Journal, Cursor, Consumer])
def test_contract_uses_each_member_of_the_interface(interface):
    source = inspect.getsource(contract) + inspect.getsource(consumer_contract)
    used = set(re.findall(r"\.(\w+)", source))
    assert members(interface).keys() - OUTSIDE_THE_CONTRACT <= used
