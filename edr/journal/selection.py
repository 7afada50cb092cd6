"""``Selection``: the filter of a reading, applied to blocks, keys and events. Pure.

It is applied three times: to the masks of a block; to the keys of a block, each once, with the
result remembered; and to the body of an entry, if its key does not decide. All three agree with
``Binding.matches``; the first two may match more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edr import Binding, Event, Pattern
from edr.journal.codec import Block, Key, KeyMatch, Keys, key_event, level_bit, name_bit
from edr.records import FrozenDict

MAX_CLAUSES = 8
"""Bindings up to which the masks are compared with each; more are merged into one, which is wider.
Hundreds of comparisons would cost more than they save."""

MAX_VERDICTS = 10_000
"""Keys of which a verdict is remembered: some 3 MB. There are more only with very many accounts."""

EVERYTHING = -1
"""A mask of which every bit is set: of whatever a block holds, something is wanted."""


class Clause(NamedTuple):
    """The bits of which a block must have one each. ``EVERYTHING`` asks nothing."""

    levels: int
    apps: int
    accounts: int


class Selection:
    """What any of ``bindings`` matches; without one everything."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings: tuple[Binding, ...] = tuple(bindings)
        self.clauses: tuple[Clause, ...] = _clauses(self.bindings)
        """A block can hold something wanted only if one of these says so; none: every block."""
        self._bodiless = [
            (binding if binding.body is None else binding.model_copy(update={"body": None}))
            for binding in self.bindings
        ]
        self._verdicts: dict[Key, KeyMatch] = {}

    def may_match(self, header: Block) -> bool:
        """Return whether a block with these masks may hold a wanted entry."""
        for levels, apps, accounts in self.clauses:  # asked of each block that is passed over
            if (
                (levels == EVERYTHING or levels & header.levels)
                and (apps == EVERYTHING or apps & header.apps)
                and (accounts == EVERYTHING or accounts & header.accounts)
            ):
                return True
        return not self.clauses

    def matches(self, event: Event) -> bool:
        """Tell whether ``event`` is wanted."""
        if not self.bindings:
            return True
        fields = event.__dict__
        wanted = self._verdict(
            (
                fields["account_id"],
                fields["account_tree"],
                fields["app_name"],
                fields["app_version"],
                fields["node"],
                fields["severity"],
                fields["verbosity"],
            )
        )
        return wanted if isinstance(wanted, bool) else wanted(fields["body"])

    def match_keys(self, keys: Keys) -> list[KeyMatch]:
        """Tell for each of ``keys`` whether its entries are wanted."""
        if not self.bindings:
            return [True] * len(keys.keys)
        return [self._verdict(key) for key in keys.keys]

    def _verdict(self, key: Key) -> KeyMatch:
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[key] = self._match_key(key)
        return verdict

    def _match_key(self, key: Key) -> KeyMatch:
        event = key_event(key)
        patterns: list[Pattern] = []
        for binding, bodiless in zip(self.bindings, self._bodiless, strict=True):
            if bodiless.matches(event):
                if binding.body is None:
                    return True
                patterns.append(binding.body)
        if not patterns:
            return False

        def by_body(body: FrozenDict) -> bool:
            return any(pattern.matches(body) for pattern in patterns)

        return by_body


def _clauses(bindings: Sequence[Binding]) -> tuple[Clause, ...]:
    clauses = tuple(dict.fromkeys(_clause(binding) for binding in bindings))
    if len(clauses) > MAX_CLAUSES:
        levels = apps = accounts = 0
        for clause in clauses:
            levels |= clause.levels
            apps |= clause.apps
            accounts |= clause.accounts
        clauses = (Clause(levels, apps, accounts),)
    return () if Clause(EVERYTHING, EVERYTHING, EVERYTHING) in clauses else clauses


def _clause(binding: Binding) -> Clause:
    levels = 0
    for severity in binding.severities:
        for verbosity in binding.verbosities:
            levels |= level_bit(severity, verbosity)
    apps = accounts = EVERYTHING
    if binding.app_name != "*":
        apps = _bits(binding.app_names)
    if binding.account_id != "*":
        accounts = _bits(binding.account_ids)
    return Clause(EVERYTHING if levels == _ALL_LEVELS else levels, apps, accounts)


_ALL_LEVELS = (1 << 18) - 1


def _bits(names: Sequence[str]) -> int:
    bits = 0
    for name in names:
        bits |= name_bit(name)
    return bits
