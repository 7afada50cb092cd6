"""``Selection``: the filter of a cursor or consumer, applied to blocks, keys and events. Pure.

It is applied three times: to the masks of a block; to each key of a block, with the result cached;
and to the body of an entry, if its key does not decide. All three agree with ``Binding.matches``,
except that masks and keys may match more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from edr import Binding, Event, Limits, Pattern, bindings_from_json, bindings_to_json
from edr.journal.codec import Block, Key, KeyMatch, Keys, key_event, level_bit, name_bit
from edr.records import FrozenDict

MAX_CLAUSES = 8
"""Clauses compared with each mask, at most. More are merged into one that matches more, because
hundreds of comparisons cost more than they save."""

MAX_VERDICTS = 10_000
"""Cached verdicts, about 3 MB. Only a journal with very many accounts has more keys."""

EVERYTHING = -1
"""A mask with every bit set. It matches every block."""


_NO_LIMITS = Limits(**{field.name: sys.maxsize for field in fields(Limits)})


def bindings_in(text: str) -> tuple[Binding, ...]:
    """Return the bindings of ``Selection.text``. They were within their limits when made."""
    documents = orjson.loads(text)
    return tuple([_binding_in(document) for document in documents])


def _binding_in(document: dict[str, Any]) -> Binding:
    binding = bindings_from_json(document, limits=_NO_LIMITS)
    assert isinstance(binding, Binding)
    return binding


class Clause(NamedTuple):
    """A block matches if it shares a bit with each field. ``EVERYTHING`` matches every block."""

    levels: int
    apps: int
    accounts: int


class Selection:
    """Matches the entries that any of ``bindings`` matches; without bindings, every entry."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings: tuple[Binding, ...] = tuple(bindings)
        self.clauses: tuple[Clause, ...] = _clauses(self.bindings)
        """A block may match if one of these does. Empty: every block may match."""
        self._bodiless = [
            (binding if binding.body is None else binding.model_copy(update={"body": None}))
            for binding in self.bindings
        ]
        self._verdicts: dict[Key, KeyMatch] = {}

    @cached_property
    def text(self) -> str:
        """The JSON of the bindings, in a form that does not depend on their order."""
        option = orjson.OPT_SORT_KEYS
        texts = {orjson.dumps(bindings_to_json(each), option=option) for each in self.bindings}
        return f"[{b','.join(sorted(texts)).decode()}]"

    def may_match(self, header: Block) -> bool:
        """Return whether a block with these masks may contain a matching entry."""
        for levels, apps, accounts in self.clauses:  # a hot loop: it runs for each skipped block
            if (
                (levels == EVERYTHING or levels & header.levels)
                and (apps == EVERYTHING or apps & header.apps)
                and (accounts == EVERYTHING or accounts & header.accounts)
            ):
                return True
        return not self.clauses

    def matches(self, event: Event) -> bool:
        """Return whether ``event`` matches."""
        if not self.bindings:
            return True
        fields = event.__dict__
        verdict = self._verdict(
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
        return verdict if isinstance(verdict, bool) else verdict(fields["body"])

    def match_keys(self, keys: Keys) -> list[KeyMatch]:
        """Return for each of ``keys`` whether its entries match."""
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
