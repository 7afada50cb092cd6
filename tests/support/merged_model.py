"""A client with several subscriptions on one connection, checked against the list of all emits.

It reads what a merge returns, and knows nothing of places and heaps. For each subscription it has
the index of the first emit that was not received. Each later emit that the subscription should see
must be received, or be part of a reported gap.
"""

import random

from edr import Bus, Event
from edr.streams import Streams
from edr.streams.cursors import NOWHERE
from edr.web.merging import Gap, Merging
from support.stream_model import BINDINGS, GRANTS, Emit, seen_form, sees


class Subscription:
    """The expectations of one subscription."""

    def __init__(self, bindings, at, cursor):
        self.bindings = bindings
        self.at = at
        self.cursor = cursor
        self.joined_at = at
        self.unsure_to = -1  # events before this emit may be missing without a count
        self.is_unsure = False


class MergedModel:
    """A bus, the list of all emits, and one client that subscribes, reads and reconnects."""

    def __init__(self, seed, *, size, history):
        self.random = random.Random(seed)
        self.bus = Bus(node="n")
        self.streams = self.new_streams(size, history)
        self.history = history
        self.grant = self.random.choice(GRANTS)
        self.emits = []
        self.index_of = {}
        self.count = 0
        self.names = 0
        self.subscriptions = {}
        self.shared = 0
        self.connect()

    def new_streams(self, size, history):
        return Streams(self.bus, size=size, history=history)

    def connect(self):
        self.merging = Merging(self.streams, self.grant, batch=2000, on_ready=self.on_ready)
        self.calls = 0
        self.newest_sent = 0
        self.late_to = {}

    def on_ready(self):
        self.calls += 1

    # The steps

    def step_emit(self):
        draw = self.random
        for _ in range(draw.choice([1, 1, 3, 20])):
            self.count += 1
            account, tree = draw.choice([("branch", ("root", "reseller")), ("reseller", ("root",))])
            event = Event(
                app_name=draw.choice("ab"),
                app_version="1",
                verbosity=draw.choice(["info", "debug"]),
                severity=draw.choice(["ok", "warning", "critical"]),
                body={"n": self.count, "k": draw.randrange(3)},
                account_id=account,
                account_tree=tree,
            )
            for _ in range(draw.choice([1, 1, 1, 2])):
                self.publish(event)

    def publish(self, event):
        before = self.streams.statistics().position
        self.bus.publish_nowait(event)
        after = self.streams.statistics().position
        self.emits.append(Emit(event, after if after > before else None))
        if after > before:
            self.index_of[after] = len(self.emits) - 1

    def step_subscribe(self):
        if len(self.subscriptions) == 6:
            return
        self.names += 1
        name, bindings = f"s{self.names}", self.random.choice(BINDINGS)
        cursor = self.merging.subscribe(name, bindings)
        self.subscriptions[name] = Subscription(bindings, len(self.emits), cursor)

    def step_unsubscribe(self):
        if self.subscriptions:
            name = self.random.choice(sorted(self.subscriptions))
            del self.subscriptions[name]
            self.merging.unsubscribe(name)

    def step_rebind(self):
        if not self.subscriptions:
            return
        name = self.random.choice(sorted(self.subscriptions))
        bindings = self.random.choice(BINDINGS)
        self.rebound(name, bindings, self.merging.rebind(name, bindings))

    def rebound(self, name, bindings, cursor):
        """Check the cursor with which a subscription continues under new bindings."""
        subscription = self.subscriptions[name]
        subscription.cursor = cursor
        if subscription.cursor != NOWHERE:
            # It continues after the cursor. No event before it matches both.
            next_index = self.index_after(subscription.cursor)
            for index in self.expected(subscription, next_index):
                assert not sees(self.emits[index].event, bindings, self.grant)
            subscription.at = max(subscription.at, next_index)
        subscription.bindings = bindings
        self.late_to[name] = self.streams.statistics().position
        if not self.history:
            subscription.unsure_to = len(self.emits)

    def index_after(self, cursor):
        position = int(cursor.rpartition("-")[2])
        return min((i for p, i in self.index_of.items() if p > position), default=len(self.emits))

    def step_reconnect(self):
        """Break the connection, and return with the cursor of each subscription."""
        if self.random.random() < 0.5:
            self.use_heartbeats()
        self.merging.close()
        self.connect()
        for name, subscription in self.subscriptions.items():
            self.merging.subscribe(name, subscription.bindings, after=subscription.cursor)

    def use_heartbeats(self):
        for cursor, ids in self.merging.cursors().items():
            for name in ids:
                self.subscriptions[name].cursor = cursor

    def step_take(self):
        self.take(self.random.choice([10, 300, 900, 2000]))

    # The checks

    def take(self, max_bytes):
        """Take once, and check the result; return whether there was something."""
        sizes = []

        def encode(delivery):
            data = self.received(delivery)
            sizes.append(len(data))
            deliveries.append(delivery)
            return data

        self.note_late()
        deliveries = []
        taken = self.merging.take(max_bytes, encode)
        if isinstance(taken, Gap):
            assert not deliveries
            self.check_gap(taken)
        elif taken is not None:
            assert len(taken) == 1 or sum(map(len, taken)) + len(taken) <= max_bytes
            for delivery in deliveries[: len(taken)]:
                self.check(delivery)
            assert len(deliveries) - len(taken) in (0, 1)
        return taken is not None

    def received(self, delivery):
        return b"%d" % delivery.record.position + b"," + delivery.record.json

    def check(self, delivery):
        position = delivery.record.position
        index = self.index_of[position]
        form = seen_form(self.emits[index].event, self.grant)
        assert delivery.record.event == form
        self.shared += len(delivery.to) > 1
        for name in delivery.to:
            subscription = self.subscriptions[name]
            assert index >= subscription.at, "an event was repeated"
            assert self.expected(subscription, index) == []
            assert sees(self.emits[index].event, subscription.bindings, self.grant)
            subscription.at, subscription.cursor = index + 1, delivery.record.cursor
        assert self.is_in_order(delivery)

    def is_in_order(self, delivery):
        """Return whether its position is the next one, but for subscriptions that come later."""
        position = delivery.record.position
        if position <= self.newest_sent:
            return all(position <= self.late_to[name] for name in delivery.to)
        self.newest_sent = position
        return True

    def note_late(self):
        """Note which subscriptions have not caught up with the others."""
        for name, place in zip(self.subscriptions, self.merging, strict=True):
            if place.filling or name not in self.late_to:
                self.late_to[name] = self.streams.statistics().position

    def check_gap(self, gap):
        subscription, missed = self.subscriptions[gap.id], gap.missed
        next_index = self.index_after(missed.cursor)
        lost = len(self.expected(subscription, next_index))
        if missed.count is None:
            assert subscription.at <= subscription.unsure_to or missed.reason == "restarted"
            subscription.is_unsure = True
        elif missed.reason == "slow" and not subscription.is_unsure:
            assert missed.count == lost
        else:
            assert missed.count >= max(lost, 1)
        subscription.at, subscription.cursor = next_index, missed.cursor

    def expected(self, subscription, stop):
        start = subscription.at
        if subscription.is_unsure:
            start = max(start, subscription.unsure_to)
        return [
            i
            for i in range(start, stop)
            if sees(self.emits[i].event, subscription.bindings, self.grant)
        ]
