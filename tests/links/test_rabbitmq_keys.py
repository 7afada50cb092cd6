import asyncio

from hypothesis import given
from hypothesis import strategies as st
from support.shuffled_loop import run
from support.strategies import some_bindings, some_events
from support.topic import topic_matches

from edr import Binding
from edr.links.rabbitmq_keys import AT_A_TIME, LINGER, BoundQueue, keys_of
from edr.records import trie_keys
from edr.wire import kazoo


class Channel:
    """Remembers what a queue is bound to, and in how many round trips it was told."""

    def __init__(self):
        self.keys = set()
        self.waits = 0

    async def queue_bind(self, queue, exchange, key, nowait=False):
        assert (queue, exchange) == ("q", "x")
        self.keys.add(key)
        self.waits += not nowait

    async def queue_unbind(self, queue, exchange, key):
        self.keys.remove(key)


def spots(*bindings):
    return [key for binding in bindings for key in trie_keys(binding)]


@given(st.lists(some_bindings(), min_size=1, max_size=4), some_events(), st.integers(1, 60))
def test_keys_cover_what_is_wanted_however_few_there_may_be(bindings, event, most):
    keys = keys_of(spots(*bindings), most)

    assert len(keys) <= max(most, 3 * 6 * len(bindings))
    if any(binding.matches(event) for binding in bindings):
        assert any(topic_matches(key, kazoo.routing_key(event)) for key in keys)


def test_where_there_are_too_many_accounts_become_any_then_apps():
    many = spots(*(Binding(account_id=f"a{n}", app_name=f"app{n}") for n in range(100)))

    assert len(keys_of(many, 400)) == 400
    assert keys_of(many, 399) == keys_of(many, 100) == set(kazoo.kazoo_keys(Binding()))


def test_where_apps_are_few_they_stay():
    many = spots(*(Binding(account_id=f"a{n}", app_name="acdc") for n in range(100)))

    assert keys_of(many, 10) == set(kazoo.kazoo_keys(Binding(app_name="acdc")))


def test_many_keys_are_bound_in_one_round_trip_and_not_twice():
    async def main():
        channel = Channel()
        queue = BoundQueue(channel, "q", "x")
        await queue.bind({"a", "b", "c"})
        await queue.bind({"a", "b", "c", "d"})
        await queue.bind({"a", "b", "c", "d"})

        assert channel.keys == {"a", "b", "c", "d"}
        assert channel.waits == 2

    run(main)


def test_an_unwanted_key_lingers_and_goes_unless_it_is_wanted_again():
    async def main():
        channel = Channel()
        queue = BoundQueue(channel, "q", "x")
        await queue.bind({"a", "b"})
        await queue.bind(set())
        assert queue.due == LINGER
        assert channel.keys == {"a", "b"}
        await asyncio.sleep(LINGER / 2)
        await queue.bind({"b"})
        await asyncio.sleep(LINGER / 2)
        await queue.bind({"b"})

        assert channel.keys == {"b"}
        assert (len(queue), queue.due) == (1, None)

    run(main)


def test_who_wants_something_new_does_not_wait_until_all_is_given_up():
    async def main():
        channel = Channel()
        queue = BoundQueue(channel, "q", "x")
        await queue.bind({str(n) for n in range(1000)})
        await queue.bind(set())
        await asyncio.sleep(LINGER)
        await queue.bind({"new"})
        assert len(channel.keys) == 1001 - AT_A_TIME
        while queue.due is not None:
            await queue.bind({"new"})

        assert channel.keys == {"new"}

    run(main)


def test_what_a_server_may_have_forgotten_is_bound_again():
    async def main():
        channel = Channel()
        queue = BoundQueue(channel, "q", "x")
        await queue.bind({"a", "b"})
        channel.keys.clear()
        await queue.bind({"a", "b"}, again=True)

        assert channel.keys == {"a", "b"}

    run(main)
