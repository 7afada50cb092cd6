"""Accounts form a tree; this module finds the ancestors of an account.

``Bus(accounts=…)`` takes any object with ``ancestors(account_id)``. It may query a database, so
answers are cached and concurrent emits share one look-up. A look-up that fails, hangs or returns an
invalid value loses no event: the event is emitted with an empty tree, and the failure is counted.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol, TypeAlias

from edr._util.log import RateLimitedLog
from edr.bus.event_factory import checked_account
from edr.errors import InvalidEventError

Ancestors: TypeAlias = tuple[str, ...]
"""The ancestors of an account, root first."""


class AccountResolver(Protocol):
    """Finds the ancestors of an account: root first, parent last, without the account."""

    def ancestors(self, account_id: str) -> Sequence[str] | Awaitable[Sequence[str]]:
        """Return the ancestors or an awaitable of them; empty for a root or an unknown account."""
        ...


class AccountTree:
    """An in-memory tree of accounts.

    Args:
        parents: child -> parent; a root has ``None`` or is left out.

    Raises:
        ValueError: the accounts form a cycle, or an id is not a non-empty string.
    """

    def __init__(self, parents: Mapping[str, str | None] | None = None) -> None:
        self._parents: dict[str, str] = {}
        for child, parent in (parents or {}).items():
            self.add(child, parent)

    def add(self, account_id: str, parent: str | None = None) -> None:
        """Add or move ``account_id`` below ``parent``; without a parent it is a root.

        A bus sees a move when its cached answer expires (``accounts_ttl``).

        Raises:
            ValueError: an id is not a non-empty string, or the move would make a cycle.
        """
        names: tuple[object, ...] = (account_id,) if parent is None else (account_id, parent)
        for name in names:
            if not isinstance(name, str) or not name:
                raise ValueError(f"an account id must be a non-empty string, got {name!r}")
        if parent is None:
            self._parents.pop(account_id, None)
            return
        if account_id == parent or account_id in self.ancestors(parent):
            raise ValueError(
                f"an account must not be below itself, got {account_id!r} below {parent!r}"
            )
        self._parents[account_id] = parent

    def ancestors(self, account_id: str) -> tuple[str, ...]:
        """Return the ancestors, root first; empty for a root or an unknown account."""
        found = []
        above = self._parents.get(account_id)
        while above is not None:
            found.append(above)
            above = self._parents.get(above)
        return tuple(reversed(found))


FAILURE_TTL = 5.0
"""Seconds for which a failure is cached, so that a resolver that hangs does not delay every emit.
Short, because bindings to ancestors do not match events without a tree."""

MAX_LOOKUPS = 1000
"""Limit of concurrent look-ups without a waiting emit. The others are limited by the emits."""

CONCURRENT_LOOKUPS = 100
"""Look-ups that one call of ``ancestors_of`` runs at a time, so that it does not overload the
resolver's database."""

TURNS = 10
"""Parts into which the time-out of a look-up is divided. A loop that is blocked for long uses up
one part only, so its own delay is not taken for a slow resolver."""


class AccountCache:
    """Caches the answers of a resolver, for ``ttl`` seconds and up to ``size`` accounts.

    A waiting emit gets the result of the look-up itself, because the cache may have evicted it.
    """

    def __init__(
        self,
        resolver: AccountResolver,
        *,
        timeout: float,
        ttl: float,
        size: int,
        on_failure: Callable[[str, BaseException], object],
        spawn: Callable[[Any], asyncio.Task[Any]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._resolver = resolver
        self._timeout = timeout
        self._ttl = ttl
        self._size = size
        self._on_failure = on_failure
        self._spawn = spawn
        self._clock = clock
        self._known: OrderedDict[str, tuple[Ancestors, float]] = OrderedDict()
        self._lookups: dict[str, asyncio.Task[Ancestors]] = {}

    def known(self, account_id: str) -> Ancestors | None:
        """Return the ancestors if they are available without waiting, else ``None``."""
        answer = self._known.get(account_id)
        if answer is not None and self._clock() < answer[1]:
            return answer[0]
        if account_id in self._lookups:
            return None
        try:
            found = self._resolver.ancestors(account_id)
            if not inspect.isawaitable(found):
                return self._remember(account_id, _checked(account_id, found), self._ttl)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # no error or cancellation of a resolver loses an event
            return self._failed(account_id, exc)
        asking = self._spawn(_result_of(found))
        asking.add_done_callback(_retrieve)
        if inspect.iscoroutine(found):
            # A coroutine cancelled before its first step would be reported as never awaited.
            asking.add_done_callback(lambda _: found.close())
        lookup: asyncio.Task[Ancestors] = self._spawn(self._look_up(account_id, asking))
        if lookup.done() and not lookup.cancelled():  # an eager task that has finished at once
            return lookup.result()
        self._lookups[account_id] = lookup
        lookup.add_done_callback(lambda _: self._lookups.pop(account_id))
        return None

    async def ancestors(self, account_id: str) -> Ancestors:
        """Return the ancestors, waiting for the resolver at most ``timeout`` seconds.

        Never raises an error of the resolver. Cancellation: safe; the look-up continues.
        """
        return (await self.ancestors_of([account_id]))[account_id]

    async def ancestors_of(self, account_ids: Iterable[str]) -> dict[str, Ancestors]:
        """Return the ancestors of each account, as ``ancestors``, with one look-up for each."""
        trees: dict[str, Ancestors] = {}
        lookups: dict[str, asyncio.Task[Ancestors]] = {}
        for account_id in dict.fromkeys(account_ids):
            tree = self.known(account_id)
            if tree is not None:
                trees[account_id] = tree
                continue
            lookups[account_id] = self._lookups[account_id]
            if len(lookups) == CONCURRENT_LOOKUPS:
                trees |= await _answers_of(lookups)
                lookups.clear()
        if lookups:
            trees |= await _answers_of(lookups)
        return trees

    def prepare(self, account_id: str) -> None:
        """Start the look-up that ``ancestors`` will wait for, so that several run concurrently."""
        if len(self._lookups) < MAX_LOOKUPS:
            self.known(account_id)

    def known_or_empty(self, account_id: str) -> Ancestors:
        """Return the ancestors without waiting; empty, and counted, if they are not available."""
        tree = self.known(account_id) if len(self._lookups) < MAX_LOOKUPS else None
        if tree is None:
            self._on_failure(account_id, TimeoutError("emit_nowait cannot wait for the look-up"))
            return ()
        return tree

    async def _look_up(self, account_id: str, asking: asyncio.Task[Sequence[str]]) -> Ancestors:
        # Not asyncio.timeout: a resolver that swallows its cancellation would block the emits.
        for _ in range(TURNS):
            await asyncio.wait({asking}, timeout=self._timeout / TURNS)
            if asking.done():
                break
        else:
            asking.cancel()
            return self._failed(account_id, TimeoutError(f"no answer within {self._timeout} s"))
        try:
            tree = _checked(account_id, asking.result())
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # as in known
            return self._failed(account_id, exc)
        return self._remember(account_id, tree, self._ttl)

    def _failed(self, account_id: str, exc: BaseException) -> Ancestors:
        self._on_failure(account_id, exc)
        return self._remember(account_id, (), min(FAILURE_TTL, self._ttl))

    def _remember(self, account_id: str, tree: Ancestors, ttl: float) -> Ancestors:
        self._known[account_id] = (tree, self._clock() + ttl)
        self._known.move_to_end(account_id)
        if len(self._known) > self._size:
            self._known.popitem(last=False)  # the oldest answer
        return tree


class AccountFailures:
    """Counts and logs account look-ups that failed.

    Args:
        log: the log.
    """

    def __init__(self, log: RateLimitedLog) -> None:
        self.count: int = 0
        self._log = log

    def add(self, account_id: str, exc: BaseException) -> None:
        """Count a failure."""
        self.count += 1
        self._log.log(
            logging.WARNING,
            "accounts",
            "the ancestors of account %r could not be found (%r); its events go out without",
            account_id,
            exc,
        )


async def _answers_of(lookups: Mapping[str, asyncio.Task[Ancestors]]) -> dict[str, Ancestors]:
    await asyncio.wait(lookups.values())
    return {
        account_id: () if lookup.cancelled() else lookup.result()
        for account_id, lookup in lookups.items()
    }


async def _result_of(answer: Awaitable[Sequence[str]]) -> Sequence[str]:
    if asyncio.isfuture(answer):
        # It belongs to the resolver and may be shared, so a time-out must not cancel it.
        answer = asyncio.shield(answer)
    try:
        return await answer
    except SystemExit as exc:  # would end the loop
        raise RuntimeError(f"the resolver raised {exc!r}") from exc


def _retrieve(asking: asyncio.Task[Any]) -> None:
    """Retrieve the exception, so that asyncio does not log it after a time-out."""
    if not asking.cancelled():
        asking.exception()


def _checked(account_id: str, answer: object) -> Ancestors:
    if isinstance(answer, (str, bytes)) or not isinstance(answer, Sequence):
        raise TypeError(f"accounts.ancestors must return a sequence of account ids, got {answer!r}")
    try:
        tree = tuple([checked_account(name) for name in answer])
    except InvalidEventError as exc:
        raise TypeError(
            f"accounts.ancestors must return account ids, got {answer!r}: {exc.reason}"
        ) from None
    if account_id in tree or len(set(tree)) < len(tree):
        raise ValueError(
            f"accounts.ancestors must not return a cycle, got {answer!r} for {account_id!r}"
        )
    return tree
