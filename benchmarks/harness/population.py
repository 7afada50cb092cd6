"""A bus with many subscriptions of one shape, of which each event is wanted by exactly one.

Each shape answers three things of its i-th subscription: its binding; the emit that it alone
wants; and the same with a key that was never seen before, which no memo can know.
"""

from __future__ import annotations

import gc
import random
from itertools import count, cycle, islice, product
from typing import Any

import edr
from benchmarks.harness.harness import no_collection
from edr.records import SubscriptionTrie, trie_keys

HOT = 10
"""Keys in turn when they are hot; as many as the smallest population has."""

IN_USE = 20_000
"""Subscriptions that get events when no key is seen twice, spread over the whole population."""

CAPACITY = 1024

Emit = tuple[str, str, str, str, dict[str, Any], str | None]
BODY = {"call_id": "a1", "status": "answered"}

_fresh = map(str, count())


class Shape:
    """Distinct apps."""

    name = "distinct apps"

    def binding(self, i: int) -> edr.Binding:
        return edr.Binding(app_name=f"app-{i}")

    def emit(self, i: int) -> Emit:
        return (f"app-{i}", "5.1", "ok", "info", BODY, None)

    def fresh_emit(self, i: int) -> Emit:
        return (f"app-{i}", next(_fresh), "ok", "info", BODY, None)

    def bus(self) -> edr.Bus:
        return edr.Bus()

    def ancestors(self, account_id: str | None) -> tuple[str, ...]:  # noqa: ARG002
        return ()


class Accounts(Shape):
    """Distinct accounts under one app."""

    name = "distinct accounts, one app"

    def binding(self, i: int) -> edr.Binding:
        return edr.Binding(app_name="callflow", account_id=f"account-{i}")

    def emit(self, i: int) -> Emit:
        return ("callflow", "5.1", "ok", "info", BODY, f"account-{i}")

    def fresh_emit(self, i: int) -> Emit:
        return ("callflow", next(_fresh), "ok", "info", BODY, f"account-{i}")


class Thresholds(Accounts):
    """Every kind of level, a threshold or exact, over distinct accounts under one app."""

    name = "thresholds of all kinds"
    kinds = tuple(product(edr.Severity, edr.Verbosity, (False, True), (False, True)))

    def binding(self, i: int) -> edr.Binding:
        severity, verbosity, exact_severity, exact_verbosity = self.kinds[i % len(self.kinds)]
        return edr.Binding(
            app_name="callflow",
            account_id=f"account-{i}",
            severity=severity,
            verbosity=verbosity,
            exact_severity=exact_severity,
            exact_verbosity=exact_verbosity,
        )

    def emit(self, i: int) -> Emit:
        severity, verbosity, *_ = self.kinds[i % len(self.kinds)]
        return ("callflow", "5.1", severity, verbosity, BODY, f"account-{i}")

    def fresh_emit(self, i: int) -> Emit:
        severity, verbosity, *_ = self.kinds[i % len(self.kinds)]
        return ("callflow", next(_fresh), severity, verbosity, BODY, f"account-{i}")


class Descendants(Shape):
    """Resellers deep in an account tree, who want what happens below them."""

    name = "descendants in a deep tree"
    above = tuple(f"level-{depth}" for depth in range(7))

    def binding(self, i: int) -> edr.Binding:
        return edr.Binding(account_id=f"reseller-{i}", include_descendants=True)

    def emit(self, i: int) -> Emit:
        return ("callflow", "5.1", "ok", "info", BODY, f"customer-{i}-0")

    def fresh_emit(self, i: int) -> Emit:
        return ("callflow", "5.1", "ok", "info", BODY, f"customer-{i}-{next(_fresh)}")

    def bus(self) -> edr.Bus:
        return edr.Bus(accounts=self)

    def ancestors(self, account_id: str | None) -> tuple[str, ...]:
        assert account_id is not None
        return (*self.above, f"reseller-{account_id.split('-')[1]}")


SHAPES: tuple[Shape, ...] = (Shape(), Accounts(), Thresholds(), Descendants())


class Population:
    """``size`` subscriptions of ``shape`` on a bus, and the same in a bare trie."""

    def __init__(self, shape: Shape, size: int, *, bare: bool = True) -> None:
        self.shape = shape
        self.size = size
        self.bus = shape.bus()
        self.trie: SubscriptionTrie[int] = SubscriptionTrie()
        with no_collection():  # a million objects that stay: it would visit them in vain
            self.subscriptions = [self._add(i, bare=bare) for i in range(size)]
            gc.freeze()
        self.hot = spread(size, HOT)
        self.used = spread(size, IN_USE)
        random.Random(1).shuffle(self.used)
        self._next_used = cycle(self.used)
        self._emitted: set[int] = set()

    def _add(self, i: int, *, bare: bool) -> edr.Subscription:
        binding = self.shape.binding(i)
        if bare:
            for spot in trie_keys(binding):
                self.trie.add(spot, i)
        return self.bus.subscribe(binding, capacity=CAPACITY)

    def hot_emits(self, n: int) -> list[Emit]:
        self._emitted.update(self.hot)
        return cycled([self.shape.emit(i) for i in self.hot], n)

    def fresh_emits(self, n: int) -> list[Emit]:
        numbers = list(islice(self._next_used, n))
        self._emitted.update(numbers)
        return [self.shape.fresh_emit(i) for i in numbers]

    def questions(self, n: int) -> list[tuple[Any, ...]]:
        """Return what a match is asked for the emits of those in use, as the trie takes it."""
        asked = []
        for app, _, severity, verbosity, _, account in self.fresh_emits(n):
            tree = self.shape.ancestors(account)
            asked.append((app, edr.Severity(severity), edr.Verbosity(verbosity), account, tree))
        return asked

    @property
    def most(self) -> int:
        """Emits that fit the queues of those that get them."""
        return min(IN_USE, CAPACITY * len(self.hot))

    async def take(self) -> None:
        """Consume what was emitted."""
        for i in self._emitted:
            subscription = self.subscriptions[i]
            for _ in range(subscription.statistics().pending):
                await anext(subscription)
        self._emitted.clear()


def spread(size: int, wanted: int) -> list[int]:
    """Return ``wanted`` numbers at equal distances below ``size``, or all of them."""
    return [i * size // min(size, wanted) for i in range(min(size, wanted))]


def cycled(items: list[Any], n: int) -> list[Any]:
    """Return ``n`` items, again from the start where they end."""
    return (items * (n // len(items) + 1))[:n]
