"""All operations on one bus, mixed by Hypothesis, beside a model of plain lists for each queue.

After each rule the loop runs until it is idle, in virtual time, so the model need not know in
which order things become ready (``test_promises`` is about that): it says what has come of all
operations once nothing more can happen. Its one liberty is ``settle``, which lets takers take.
"""

import asyncio
import gc
import logging
import math
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.shuffled_loop import ShuffledLoop

from edr import Binding, Bus, Event, Overflow, SubscriptionOverflowError
from edr.bus.subscription import queue_of
from edr.records import EVERY_EVENT
from promises.model import Emission, QueueModel

STALL_AFTER = 4.5
"""Seconds. All times of the rules are whole ones, so none falls on the moment of a stall."""

# Most want most events, since queues that never fill have little to show.
bindings = st.just([]) | st.lists(
    st.builds(
        Binding,
        app_name=st.sampled_from(["*", "a", ["a", "b"]]),
        severity=st.sampled_from(["ok", "warning", ["ok", "critical"]]),
        account_id=st.sampled_from(["*", "*", "x"]),
    ),
    max_size=2,
)
fields = st.fixed_dictionaries(
    {
        "app_name": st.sampled_from("ab"),
        "app_version": st.just("1"),
        "severity": st.sampled_from(["ok", "warning", "critical"]),
        "verbosity": st.sampled_from(["info", "info", "info", "debug"]),
        "account_id": st.sampled_from([None, "x"]),
    }
)
options = st.fixed_dictionaries(
    {
        "capacity": st.integers(1, 3),
        "overflow": st.sampled_from([Overflow.BLOCK, Overflow.BLOCK, *Overflow]),
    }
)


class BusMachine(RuleBasedStateMachine):
    subscriptions = Bundle("subscriptions")
    handles = Bundle("handles")

    def __init__(self):
        super().__init__()
        self.loop = ShuffledLoop()
        self.bus = Bus(node="test", stall_timeout=STALL_AFTER)
        self.models = []
        self.emissions = []
        self.takers = []
        self.emits = self.errors = 0
        self.call(self.bus.enter)

    def call(self, function, *args, **kwargs):
        """Call ``function`` inside the loop."""

        async def inside():
            return function(*args, **kwargs)

        return self.loop.run_until_complete(inside())

    def run_until_idle(self, seconds=0):
        self.loop.run_until_complete(asyncio.sleep(seconds))
        while self.loop._ready:
            self.loop.run_until_complete(asyncio.sleep(0))
        for model in self.models:
            if seconds:
                model.pass_time(self.loop.time())
            model.settle(self.loop.time())
            if model.is_let_go and not model.takers:
                model.discard()
        self.takers = [taker for taker in self.takers if not taker[1].done()]

    # Come and go

    @rule(target=subscriptions, bindings=bindings, options=options, gaps=st.booleans())
    def subscribe(self, bindings, options, gaps):
        subscription = self.call(self.bus.subscribe, *bindings, **options, gaps=gaps)
        model = self.add_model(queue_of(subscription), bindings, options, gaps=gaps)
        # In a list, so that the machine can let it go though Hypothesis keeps what is here.
        return [subscription], model

    def add_model(self, queue, bindings, options, **more):
        model = QueueModel(queue, bindings, stall_timeout=STALL_AFTER, **options, **more)
        model.actual_ends = []
        self.models.append(model)
        return model

    @rule(target=handles, bindings=bindings, options=options, fails=st.booleans())
    def bind(self, bindings, options, fails):
        def callback(event):
            model.receive(event)
            if fails:
                raise ValueError

        handle = self.call(self.bus.bind, bindings or EVERY_EVENT, callback, **options)
        model = self.add_model(handle._runner.queue, bindings, options, takers=math.inf)
        model.fails = fails
        self.run_until_idle()
        return handle, model

    @rule(target=handles, bound=handles)
    def bind_again(self, bound):
        handle, model = bound
        if handle._runner not in list(self.bus._handles):
            return handle, model
        bindings = model.bindings
        assert self.call(self.bus.bind, bindings, handle.callback, capacity=9) is handle
        return handle, model

    @rule(bound=handles)
    def unbind(self, bound):
        handle, model = bound
        self.call(handle.unbind)
        model.discard()
        self.run_until_idle()

    @rule(held=subscriptions, how=st.sampled_from(["close", "aclose"]))
    def close(self, held, how):
        (subscription,), model = held
        if how == "close":
            self.call(subscription.shutdown)
            model.closed = True
        else:
            self.loop.run_until_complete(subscription.aclose())
            model.discard()
        self.run_until_idle()

    @rule(held=consumes(subscriptions))
    def let_go(self, held):
        holder, model = held
        holder.clear()
        # A cycle of a test's own might hold it, such as that of an exception and its frame.
        gc.collect(0)
        model.is_let_go = True
        self.run_until_idle()

    # Emit

    def accept(self, fields, *, may_wait):
        emission = Emission(self.emits)
        self.emits += 1
        event = self.event(emission, fields)
        for model in self.models:
            if not model.closed and any(binding.matches(event) for binding in model.bindings):
                model.offer(emission, self.loop.time(), may_wait=may_wait)
        return emission

    def event(self, emission, fields):
        return Event(**fields, body={"n": emission.number})

    @rule(many=st.lists(fields, min_size=1, max_size=4), publishes=st.booleans())
    def emit(self, many, publishes):
        """Emit from a task each, one after the other, for none to wait for another."""
        for fields in many:
            emission = self.accept(fields, may_wait=True)
            if publishes:
                coroutine = self.bus.publish(self.event(emission, fields))
            else:
                coroutine = self.bus.emit(**fields, body={"n": emission.number})
            emission.task = self.loop.create_task(coroutine)
            self.emissions.append(emission)
            self.run_until_idle()

    @rule(many=st.lists(fields, min_size=1, max_size=5))
    def emit_nowait(self, many):
        """Emit all before any taker runs."""

        def emit_all():
            for fields in many:
                emission = self.accept(fields, may_wait=False)
                assert self.bus.emit_nowait(**fields, body={"n": emission.number})

        self.call(emit_all)
        self.run_until_idle()

    @precondition(lambda self: any(emission.waits_for for emission in self.emissions))
    @rule(data=st.data())
    def cancel_an_emit(self, data):
        emission = data.draw(st.sampled_from([e for e in self.emissions if e.waits_for]))
        emission.task.cancel()
        for model in list(emission.waits_for):
            model.refuse(emission, "cancelled")
        self.run_until_idle()
        assert emission.task.cancelled()
        self.emissions.remove(emission)

    # Take

    async def taking(self, subscription, model):
        try:
            item = await anext(subscription)
        except asyncio.CancelledError:
            return True  # not raised, since its traceback would hold the subscription
        except (StopAsyncIteration, SubscriptionOverflowError) as end:
            model.actual_ends.append(getattr(end, "missed", None))
        else:
            model.receive(item)
        return False

    @rule(held=subscriptions, count=st.integers(1, 3))
    def take(self, held, count):
        (subscription,), model = held
        for _ in range(count):
            task = self.loop.create_task(self.taking(subscription, model))
            self.takers.append((model, task))
            model.takers += 1
        self.run_until_idle()

    @precondition(lambda self: self.takers)
    @rule(data=st.data(), many=st.lists(fields, max_size=3))
    def cancel_a_take_just_as_events_come(self, data, many):
        index = data.draw(st.integers(0, len(self.takers) - 1))
        model, task = self.takers.pop(index)

        def emit_and_cancel():
            for fields in many:
                emission = self.accept(fields, may_wait=False)
                self.bus.emit_nowait(**fields, body={"n": emission.number})
            task.cancel()

        self.call(emit_and_cancel)
        model.takers -= 1
        self.run_until_idle()
        assert task.result() is True

    # Time

    @rule(seconds=st.integers(1, 6))
    def let_time_pass(self, seconds):
        self.run_until_idle(seconds)

    # What holds after each rule

    @invariant()
    def each_subscription_is_as_the_model_says(self):
        for model in self.models:
            model.check()
            if not model.is_callback:
                assert model.actual_ends == [model.overflowed_by] * model.ended
                assert model.takers == sum(one is model for one, _ in self.takers)

    @invariant()
    def each_emit_waits_or_has_returned_how_many_took_it(self):
        for emission in self.emissions:
            assert emission.task.done() == (not emission.waits_for)
            if emission.task.done():
                assert emission.task.result() == emission.taken
        self.emissions = [emission for emission in self.emissions if emission.waits_for]

    @invariant()
    def the_bus_has_the_sums(self):
        counts = self.call(self.bus.statistics)
        assert counts.emits == self.emits
        assert counts.subscriptions == sum(not model.closed for model in self.models)
        assert counts.offered == sum(len(model.accepted) for model in self.models)
        assert counts.pending == sum(model.pending for model in self.models)
        assert counts.dropped == sum((model.dropped for model in self.models), Counter())
        assert counts.delivered == counts.offered - sum(counts.dropped.values()) - counts.pending
        assert counts.stalled == sum(m.stalled and not m.closed for m in self.models)
        failures = (len(m.foretold) for m in self.models if m.is_callback and m.fails)
        assert counts.callback_errors == sum(failures)

    def teardown(self):
        try:
            waits = any(model.line for model in self.models)
            if not waits:
                left = Counter()
                for model in self.models:
                    left[model.queue.name] += model.pending
                assert self.loop.run_until_complete(self.bus.drain()) == +left
            self.loop.run_until_complete(self.bus.aclose())
            for model in self.models:
                if model.pending or not model.closed:
                    model.discard()
            # A subscription that was closed keeps its line, and so its emits, until it stalls.
            self.run_until_idle(math.ceil(STALL_AFTER))
            self.each_emit_waits_or_has_returned_how_many_took_it()
            assert not self.emissions
            assert all(task.done() for _, task in self.takers)
        finally:
            self.loop.close()


@pytest.mark.slow
def test_any_mix_of_operations_agrees_with_plain_lists():
    logging.getLogger("edr").setLevel(logging.CRITICAL)
    try:
        run_state_machine_as_test(
            BusMachine,
            settings=settings(
                max_examples=2 * settings.default.max_examples,
                stateful_step_count=40,
                report_multiple_bugs=False,
            ),
        )
    finally:
        logging.getLogger("edr").setLevel(logging.NOTSET)
