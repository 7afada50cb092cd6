"""The subject of an event on NATS, and the subscription patterns of bindings. Pure.

The problem: a broker can tell events apart by their subject only, one token after the other. The
subject must let it decide as much as it can of ``Binding.matches``, in as few patterns as can be:
each is a subscription that the server keeps, and matches. A subject is ::

    edr.<account>.<app>.<w>.<c>.<d>.<i>.<w>.<e>.<f>.<ancestors, root first>.<hops>
    edr.acme.callflow.w.-.d.i.-.-.-.holding.1

**Levels are unary.** Two tokens say whether the severity has reached warning and critical, five
whether the verbosity has reached debug, info, warn, error and fatal: a letter, or ``-``. So a
threshold, an exact level, and any run of levels is **one** pattern: from ``info`` up is
``*.i.*.*.*``, ``info`` alone ``*.i.-.*.*``. With a token for each level's name, the default binding
would take 12 patterns instead of one.

**The account** stands at a fixed place, so that a broker's permissions can be written for it. The
ancestors follow, each at its depth. A binding that includes the descendants of an account has a
pattern for each of the first 8 depths, and needs no tree of accounts. Of a deeper tree, the first 8
are listed and ``~deep`` follows: each binding with descendants subscribes to that as well.

**Tokens.** Letters, digits, ``_`` and ``-`` stand for themselves, other bytes are ``%XX``. A longer
token than 64 is ``~`` and 32 hex digits of its hash; no account is ``~``. So a token is never empty
or a wildcard, two names up to that length never share one, and a subject is never so long that a
server would refuse the line and close the connection for good.

**Hops**, how many links the event crossed, are the last token and not a header: parsing headers
costs a client more than the event.

Invariants: the patterns of a binding match the subject of every event that it matches; and no
other, but for the body, for names that were hashed, and for trees deeper than 8.

Cost: some 2 µs an event.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote

from edr.records import Binding, Event, Severity, TrieKey, Verbosity, trie_keys

PREFIX = "edr"

LISTED = 8
"""Ancestors that a subject lists. Trees of accounts have three or four levels in practice."""

MAX_TOKEN = 64
MAX_PREFIX = 64
LONGEST = 1000
"""Bytes of a subject, at most, whatever the names: a server reads lines of 4,096, with two subjects
in them. 10 tokens of 64, the levels, the prefix and the dots make 750."""

DEEP = "~deep"
NO_ACCOUNT = "~"

_L = TypeVar("_L", Severity, Verbosity)
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NOT_REACHED = "-"

MAX_HOPS = 99
_HOPS = {str(hops): hops for hops in range(1, MAX_HOPS + 1)}


# Events


def subject_of(event: Event, hops: int = 1, prefix: str = PREFIX) -> str:
    """Return the subject of ``event``, on its ``hops``-th crossing of a link."""
    return f"{stem_of(event, prefix)}.{hops}"


def stem_of(event: Event, prefix: str = PREFIX) -> str:
    """Return the subject of ``event`` without its hops: it follows from the event alone."""
    fields = event.__dict__  # not the attributes: pydantic's look-up costs as much as all the rest
    return _stem(
        prefix,
        fields["account_id"],
        fields["account_tree"],
        fields["app_name"],
        fields["severity"],
        fields["verbosity"],
    )


@lru_cache(maxsize=4096)  # about 1 MB; a miss takes 2 µs
def _stem(
    prefix: str,
    account: str | None,
    tree: tuple[str, ...],
    app_name: str,
    severity: Severity,
    verbosity: Verbosity,
) -> str:
    levels = _LEVELS[severity, verbosity]
    owner = NO_ACCOUNT if account is None else token(account)
    stem = f"{prefix}.{owner}.{token(app_name)}.{levels}"
    if not tree:
        return stem
    above = ".".join([token(account) for account in tree[:LISTED]])
    return f"{stem}.{above}" if len(tree) <= LISTED else f"{stem}.{above}.{DEEP}"


def hops_of(subject: str) -> int:
    """Return the hops of a subject; 0 if the last token is not a valid number of hops."""
    return _HOPS.get(subject[subject.rfind(".") + 1 :], 0)


def token(name: str) -> str:
    """Return the token of a name: never empty, never a wildcard, at most 64 characters."""
    if _PLAIN.fullmatch(name):
        return name
    encoded = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= MAX_TOKEN:
        return encoded
    return "~" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def checked_prefix(prefix: str) -> str:
    """Return ``prefix``, which must be one token or several.

    Raises:
        ValueError: it is not a valid prefix, or too long.
    """
    if len(prefix) > MAX_PREFIX or not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"a prefix is up to {MAX_PREFIX} letters, digits, '_' and '-', with single dots "
            f"between, not {prefix!r}"
        )
    return prefix


# Patterns


def patterns_of(*bindings: Binding, prefix: str = PREFIX) -> tuple[str, ...]:
    """Return the patterns that match every event that one of ``bindings`` does, each once."""
    keys = [key for binding in bindings for key in trie_keys(binding)]
    return tuple(dict.fromkeys(patterns_at(keys, prefix)))


def patterns_at(keys: Iterable[TrieKey], prefix: str = PREFIX) -> Iterator[str]:
    """Return the patterns of the events that ``keys`` match."""
    for app_name, level_mask, account_id, below in keys:
        app = "*" if app_name is None else token(app_name)
        for levels in _level_patterns(level_mask):
            if account_id is None:
                yield f"{prefix}.*.{app}.{levels}.>"
                continue
            account = token(account_id)
            yield f"{prefix}.{account}.{app}.{levels}.>"
            if below:
                for depth in range(LISTED):
                    yield f"{prefix}.*.{app}.{levels}.{'*.' * depth}{account}.>"
                yield f"{prefix}.*.{app}.{levels}.{'*.' * LISTED}{DEEP}.>"


def plan(keys: Iterable[TrieKey], limit: int, prefix: str = PREFIX) -> frozenset[str]:
    """Return at most ``limit`` patterns, which match at least the events that ``keys`` match.

    Keys that another key covers are left out. If there are too many still, the accounts of an app
    and levels become any account, the largest groups first; then the apps; then all is one pattern.
    """
    wanted = uncovered(keys)
    for widen in (_to_any_account, _to_any_app, _to_all):
        size = sum(map(_size, wanted))
        if size <= limit:
            break
        wanted = uncovered(_widened(wanted, size, limit, widen))
    return frozenset(patterns_at(wanted, prefix))


def permissions_of(
    account_id: str, account_tree: Sequence[str] = (), *, prefix: str = PREFIX
) -> dict[str, list[str]]:
    """Return what a tenant's user of a server is to be permitted, as NATS's ``permissions`` has it.

    It may publish events of that very account, with that very tree: else it could claim to be
    below anybody. It may subscribe to those, and to what is below it, but for trees deeper than 8,
    whose lane all share. A part of it that publishes itself is a tenant of its own.
    """
    levels = "*." * (len(Severity) + len(Verbosity) - 2)
    above = "".join([f"{token(account)}." for account in account_tree[:LISTED]])
    deep = f"{DEEP}." if len(account_tree) > LISTED else ""
    below = Binding(account_id=account_id, include_descendants=True, verbosity=Verbosity.TRACE)
    return {
        "publish": [f"{prefix}.{token(account_id)}.*.{levels}{above}{deep}*"],
        "subscribe": [
            pattern for pattern in patterns_of(below, prefix=prefix) if DEEP not in pattern
        ],
    }


def filters_of(*bindings: Binding, limit: int, prefix: str = PREFIX) -> tuple[str, ...]:
    """Return at most ``limit`` patterns of which no two match one subject, in sorted order.

    JetStream refuses filters that overlap. Patterns for the descendants of an account overlap at
    every depth, so a pattern for any account takes their place; other patterns that overlap become
    one.
    """
    keys = [
        _to_any_account(key) if key.include_descendants else key
        for binding in bindings
        for key in trie_keys(binding)
    ]
    filters: list[list[str]] = []
    for pattern in sorted(plan(keys, limit, prefix)):
        words = pattern.split(".")
        while meeting := next((other for other in filters if _meet(words, other)), None):
            filters.remove(meeting)
            words = [
                one if one == other else "*" for one, other in zip(words, meeting, strict=True)
            ]
        filters.append(words)
    return tuple(sorted(".".join(words) for words in filters))


def _meet(one: Sequence[str], other: Sequence[str]) -> bool:
    return all(a == b or "*" in (a, b) for a, b in zip(one, other, strict=True))


def uncovered(keys: Iterable[TrieKey]) -> tuple[TrieKey, ...]:
    """Return ``keys`` without the ones that another key covers."""
    masks: dict[tuple[str | None, str | None, bool], set[int]] = {}
    distinct = dict.fromkeys(keys)
    for key in distinct:
        masks.setdefault((key.app_name, key.account_id, key.include_descendants), set()).add(
            key.level_mask
        )
    return tuple([key for key in distinct if not _is_covered(key, masks)])


def _is_covered(key: TrieKey, masks: dict[tuple[str | None, str | None, bool], set[int]]) -> bool:
    accounts = dict.fromkeys(
        [(None, False), (key.account_id, True), (key.account_id, key.include_descendants)]
    )
    for app in dict.fromkeys([None, key.app_name]):
        for account, below in accounts:
            here = (
                app == key.app_name
                and account == key.account_id
                and below == key.include_descendants
            )
            for wider in masks.get((app, account, below), ()):
                if key.level_mask & ~wider == 0 and not (here and wider == key.level_mask):
                    return True
    return False


def _widened(
    keys: Sequence[TrieKey], size: int, limit: int, widen: Callable[[TrieKey], TrieKey]
) -> Iterator[TrieKey]:
    groups: dict[TrieKey, list[TrieKey]] = {}
    for key in keys:
        groups.setdefault(widen(key), []).append(key)
    for wide, members in sorted(groups.items(), key=lambda group: -sum(map(_size, group[1]))):
        if size > limit:
            size += _size(wide) - sum(map(_size, members))
            yield wide
        else:
            yield from members


def _size(key: TrieKey) -> int:
    return len(_level_patterns(key.level_mask)) * (LISTED + 2 if key.include_descendants else 1)


def _to_any_account(key: TrieKey) -> TrieKey:
    return TrieKey(key.app_name, key.level_mask, None, include_descendants=False)


def _to_any_app(key: TrieKey) -> TrieKey:
    return TrieKey(None, key.level_mask, None, include_descendants=False)


def _to_all(_: TrieKey) -> TrieKey:
    return trie_keys(Binding(verbosity=Verbosity.TRACE))[0]


# Levels


def _reached(level: _L) -> str:
    return ".".join(other[0] if level >= other else _NOT_REACHED for other in list(type(level))[1:])


_LEVELS = {
    (severity, verbosity): f"{_reached(severity)}.{_reached(verbosity)}"
    for severity in Severity
    for verbosity in Verbosity
}
_LEVEL_BIT = {
    levels: trie_keys(
        Binding(
            severity=levels[0],
            exact_severity=True,
            verbosity=levels[1],
            exact_verbosity=True,
        )
    )[0].level_mask
    for levels in _LEVELS
}


@lru_cache(maxsize=512)  # as many as the trie remembers
def _level_patterns(level_mask: int) -> tuple[str, ...]:
    """Return the patterns of a level mask, which is a product of severities and verbosities."""
    wanted = [levels for levels, bit in _LEVEL_BIT.items() if bit & level_mask]
    severities = _run_patterns(Severity, {severity for severity, _ in wanted})
    verbosities = _run_patterns(Verbosity, {verbosity for _, verbosity in wanted})
    return tuple(f"{severity}.{verbosity}" for severity in severities for verbosity in verbosities)


def _run_patterns(kind: type[_L], wanted: set[_L]) -> list[str]:
    """Return a pattern for each run of neighbouring levels."""
    levels = list(kind)
    runs: list[list[_L]] = []
    for level in levels:
        if level not in wanted:
            continue
        if runs and runs[-1][-1].rank == level.rank - 1:
            runs[-1].append(level)
        else:
            runs.append([level])
    return [".".join(_run_token(level, run) for level in levels[1:]) for run in runs]


def _run_token(level: _L, run: Sequence[_L]) -> str:
    if level is run[0]:
        return level[0]
    return _NOT_REACHED if level.rank == run[-1].rank + 1 else "*"
