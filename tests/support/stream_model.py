"""Clients of a stream that check each result of ``take`` against the list of all emits.

The model knows nothing of windows, groups and logs. It has the emits in order, each with its
position if any client's bindings matched it, and for each client the index of the first emit that
the client was not given yet. Every emit from there on that the client should see must be received,
or be part of a reported gap.
"""

import asyncio
import random
from dataclasses import dataclass

from edr import Binding, Bus, Event
from edr.streams import Grant, Streams

TREES = {
    "root": (),
    "reseller": ("root",),
    "branch": ("root", "reseller"),
    "leaf": ("root", "reseller", "branch"),
    "sibling": ("root", "reseller"),
    "res": ("root",),  # a prefix of another name
    "other": ("root2",),
}

BINDINGS = [
    (Binding.everything(),),
    (Binding(app_name="a"),),
    (Binding(app_name="a", severity="warning"),),
    (Binding(severity="critical"), Binding(app_name="b")),
    (Binding(app_name=["a", "b"], body={"k": [1]}),),
    (Binding(account_id="branch"),),
    (Binding(account_id="root", include_descendants=True),),
    (Binding(account_id="reseller", include_descendants=True, app_name="a"),),
    (Binding(account_id=["branch", "other"], include_descendants=True),),
    (Binding(app_name="never"),),
]
GRANTS = [Grant.everything(), Grant("reseller"), Grant("branch"), Grant("res"), Grant("root")]


def seen_form(event, grant):
    """Return ``event`` as a client may see it, or None: written again, and simply."""
    account = grant.account
    if account is None:
        return event
    if event.account_id == account:
        tree = ()
    elif account in event.account_tree:
        tree = event.account_tree[event.account_tree.index(account) :]
    else:
        return None
    return Event(**{**event.__dict__, "account_tree": tree})


def sees(event, bindings, grant):
    form = seen_form(event, grant)
    return form is not None and any(binding.matches(form) for binding in bindings)


@dataclass
class Emit:
    event: Event
    position: int | None


class Client:
    """A client that comes, reads, goes and returns with its cursor."""

    def __init__(self, model, bindings, grant):
        self.model, self.bindings, self.grant = model, bindings, grant
        self.place = None
        self.at = 0
        self.joined_at = 0
        self.hello = None
        self.cursor = None
        self.unsure_to = -1
        self.is_unsure = False
        self.calls = 0
        self.awaits_call = False

    def join(self, **options):
        self.place = self.model.streams.join(
            *self.bindings, grant=self.grant, on_ready=self.on_ready, **options
        )
        self.awaits_call = False
        return self

    def join_new(self, last=None):
        emits = self.model.emits
        self.at = self.joined_at = len(emits)
        if last and self.model.index_of:
            inside = [i for i in self.matching(0) if emits[i].position >= self.model.first]
            self.at = inside[-last] if len(inside) >= last else (inside or [self.at])[0]
        self.is_unsure = False
        self.unsure_to = -1
        self.join(last=last)
        self.cursor = self.place.cursor
        if last and emits and self.place.filling:
            # A client that leaves before the past was available returns to the whole window.
            self.hello = self.cursor, self.model.index_of[self.model.first]
        return self

    def return_(self, *, was_kept):
        if not was_kept and not self.model.streams.history:
            self.unsure_to = len(self.model.emits)
        self.is_unsure = False
        return self.join(after=self.cursor, last=3)

    def rebind(self, bindings):
        """Change the bindings without leaving."""
        place, emits = self.place, self.model.emits
        if not place.filling and not place.behind and self.cursor_of(place) is not None:
            self.at = len(emits)  # it has everything so far, and so nothing is unsure
        elif not self.model.streams.history:
            self.unsure_to = len(emits)
        self.is_unsure = False
        self.bindings = bindings
        self.model.streams.rebind(place, *bindings)
        self.cursor = place.cursor

    def cursor_of(self, place):
        """Return the cursor of a place without a gap to report, or None."""
        return place.cursor if place.cursor == self.model.newest_cursor else None

    def leave(self):
        if self.hello is not None and self.cursor == self.hello[0]:
            self.at = self.hello[1]
        self.hello = None
        self.model.streams.leave(self.place)
        assert self.place.take() == (None, [], True)
        self.place = None

    def on_ready(self):
        if not self.awaits_call:
            self.model.faults.append("called without an empty take before it")
        self.awaits_call = False
        self.calls += 1

    def matching(self, start, stop=None):
        """Return the indexes of the emits that it should see and that have a position."""
        emits = self.model.emits
        stop = len(emits) if stop is None else stop
        return [
            i for i in range(start, stop) if emits[i].position is not None and self.should_see(i)
        ]

    def should_see(self, index):
        return sees(self.model.emits[index].event, self.bindings, self.grant)

    def expected(self, start, stop):
        """Return the indexes of the emits that it should see. Before it joined for the first time,
        only those that the window has. After an unknown gap, only those since its group exists."""
        if self.is_unsure:
            start = max(start, self.unsure_to)
        return [
            i
            for i in range(start, stop)
            if (i >= self.joined_at or self.model.emits[i].position) and self.should_see(i)
        ]

    def take(self, limit=256, max_bytes=65536, *, drop_records=False):
        """Take once, and check the result. With ``drop_records`` the connection breaks after the
        gap."""
        was_filling = self.place.filling
        taken = self.place.take(limit, max_bytes)
        if was_filling:
            assert taken == (None, [], False)
            self.awaits_call = True
            return taken
        assert len(taken.records) <= limit
        if len(taken.records) > 1:
            assert sum(len(each.json) for each in taken.records) <= max_bytes
        indexes = [self.model.index_of[record.position] for record in taken.records]
        self._check_gap(taken.missed, indexes[0] if indexes else len(self.model.emits))
        if drop_records and taken.missed:
            return taken
        for record, index in zip(taken.records, indexes, strict=True):
            self._check_record(record, index)
        if not taken.records:
            self.awaits_call = not taken.ended
            self.at = len(self.model.emits)
            self.cursor = self.place.cursor
        return taken

    def _check_gap(self, missed, next_index):
        assert next_index >= self.at, "an event was repeated"
        lost = len(self.expected(self.at, next_index))
        if missed is None:
            assert lost == 0, f"{lost} events are missing without a report"
            return
        if missed.count is None:
            # A cursor of ``last`` may be older than its group too.
            assert (
                missed.reason == "restarted"
                or self.at < self.joined_at
                or self.at <= self.unsure_to
            )
            assert not self.model.streams.history
            self.is_unsure = True
        elif missed.reason == "slow" and not (self.is_unsure and self.at < self.unsure_to):
            assert missed.count == lost
        else:
            assert missed.count >= max(lost, 1)
        self.at, self.cursor = next_index, missed.cursor

    def _check_record(self, record, index):
        assert index >= self.at, "an event was repeated"
        assert self.expected(self.at, index) == []
        assert self.should_see(index)
        form = seen_form(self.model.emits[index].event, self.grant)
        assert record.event == form
        assert record.json == form.to_json()
        self.at, self.cursor = index + 1, record.cursor

    def use_own_cursor(self):
        """Go on with the cursor that a heartbeat would have."""
        is_caught_up = not self.place.filling and not self.place.behind
        self.cursor = self.place.cursor
        if is_caught_up and self.cursor == self.model.newest_cursor:
            self.at = len(self.model.emits)

    async def take_all(self):
        """Take until nothing is left."""
        while True:
            if not self.take(7).records and not self.place.filling:
                return
            await asyncio.sleep(0)


class StreamModel:
    """A bus with streams, and the list of all emits."""

    def __init__(self, seed, *, size, history, max_bytes=2**23):
        self.random = random.Random(seed)
        self.bus = Bus(node="n")
        self.streams = Streams(self.bus, size=size, bytes=max_bytes, history=history)
        self.emits = []
        self.faults = []
        self.index_of = {}
        self.clients = []
        self.away = []
        self.count = 0

    @property
    def first(self):
        """The oldest position of the window."""
        positions = sorted(self.index_of)
        return positions[-self.streams.statistics().events]

    @property
    def newest_cursor(self):
        """The cursor of a place without anything to take."""
        return f"{self.streams.id}-{self.streams.statistics().position}"

    def make_event(self):
        draw = self.random
        self.count += 1
        account = draw.choice([None, *TREES])
        tree = TREES.get(account, ()) if draw.random() < 0.9 else ()  # or not resolved
        return Event(
            app_name=draw.choice("ab"),
            app_version="1",
            severity=draw.choice(["ok", "warning", "critical"]),
            verbosity=draw.choice(["info", "debug"]),
            body={"n": self.count, "k": draw.randrange(3)},
            account_id=account,
            account_tree=tree,
        )

    def publish(self, event):
        before = self.streams.statistics().position
        self.bus.publish_nowait(event)
        after = self.streams.statistics().position
        assert after - before in (0, 1), "one emit must have one position"
        self.emits.append(Emit(event, after if after > before else None))
        if after > before:
            self.index_of[after] = len(self.emits) - 1

    # The random steps

    def step_emit(self):
        for _ in range(self.random.choice([1, 1, 3, 20])):
            self.publish(self.make_event())

    def step_emit_again(self):
        event = self.random.choice(self.emits[-3:]).event if self.emits else self.make_event()
        for _ in range(self.random.choice([1, 2])):
            self.publish(event)

    def step_join(self):
        if len(self.clients) < 12:
            draw = self.random
            client = Client(self, draw.choice(BINDINGS), draw.choice(GRANTS))
            self.clients.append(client.join_new(draw.choice([None, None, 0, 1, 5, 1000])))

    def step_take(self):
        if self.clients:
            draw = self.random
            draw.choice(self.clients).take(draw.choice([1, 3, 256]), draw.choice([10, 900, 65536]))

    def step_leave(self):
        if not self.clients:
            return
        client = self.clients.pop(self.random.randrange(len(self.clients)))
        chance = self.random.random()
        if chance < 0.3:
            client.take(2, drop_records=True)
        elif chance < 0.6:
            client.use_own_cursor()
        client.leave()
        self.away.append(client)

    def step_return(self):
        if self.away:
            client = self.away.pop(self.random.randrange(len(self.away)))
            self.clients.append(client.return_(was_kept=self.was_kept))

    def step_rebind(self):
        if self.clients:
            client = self.random.choice(self.clients)
            bindings = self.random.choice(BINDINGS)
            if client.hello is None and self.random.random() < 0.5:
                client.rebind(bindings)
                return
            client.leave()
            client.bindings = self.random.choice(BINDINGS)
            client.return_(was_kept=False)

    was_kept = True

    async def run(self, steps):
        names = ["emit"] * 6 + ["emit_again", "join", "leave", "return", "rebind"] + ["take"] * 5
        for _ in range(steps):
            getattr(self, f"step_{self.random.choice(names)}")()
            if self.random.random() < 0.4:
                await asyncio.sleep(0)
            if self.random.random() < 0.01:
                await asyncio.sleep(61)
                for client in self.away:
                    client.unsure_to = 10**9
        while self.away:
            self.step_return()
        for _ in range(5):
            await asyncio.sleep(0)
        for client in self.clients:
            assert not client.place.filling
            assert not (client.awaits_call and client.place.behind), "it was not called"
            await client.take_all()
            client.leave()
        assert self.faults == []
        await self.bus.aclose()
