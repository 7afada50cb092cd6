"""Accounts form a tree; this finds the ancestors of one.

``Bus(accounts=…)`` takes anything that answers ``ancestors(account_id)``. It may ask a
database, so its answers are remembered, one look-up serves all who wait for it, and one that
fails, hangs or answers rubbish costs no event: it goes out with an empty tree, and is counted.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol, TypeAlias

from edr._util.log import RateLimitedLog
from edr.bus.template import checked_account
from edr.errors import InvalidEventError

Ancestors: TypeAlias = tuple[str, ...]
"""The accounts above one, root first."""


class AccountResolver(Protocol):
    """Answers the ancestors of an account: root first, direct parent last, itself not in it."""

    def ancestors(self, account_id: str) -> Sequence[str] | Awaitable[Sequence[str]]:
        """Return the ancestors, at once or as an awaitable; empty for a root or an unknown."""
        ...


class AccountTree:
    """An in-memory tree of accounts, made of links from child to parent.

    Args:
        parents: child -> parent; a root need not be named, or is given ``None``.

    Raises:
        ValueError: the links form a cycle, or a name is no text or empty.
    """

    def __init__(self, parents: Mapping[str, str | None] | None = None) -> None:
        self._parents: dict[str, str] = {}
        for child, parent in (parents or {}).items():
            self.add(child, parent)

    def add(self, account_id: str, parent: str | None = None) -> None:
        """Put ``account_id`` under ``parent``, or make it a root; it may be moved so.

        A bus that has asked already knows it only when its answer expires (``accounts_ttl``).
        """
        names: tuple[object, ...] = (account_id,) if parent is None else (account_id, parent)
        for name in names:
            if not isinstance(name, str) or not name:
                raise ValueError(f"an account id is text and not empty, not {name!r}")
        if parent is None:
            self._parents.pop(account_id, None)
            return
        if account_id == parent or account_id in self.ancestors(parent):
            raise ValueError(f"{account_id!r} under {parent!r} would close a cycle")
        self._parents[account_id] = parent

    def ancestors(self, account_id: str) -> tuple[str, ...]:
        """Return the accounts above, root first; empty for a root or an unknown account."""
        found = []
        above = self._parents.get(account_id)
        while above is not None:
            found.append(above)
            above = self._parents.get(above)
        return tuple(reversed(found))


FAILURE_TTL = 5.0
"""Seconds for which a failure is remembered: a resolver that hangs must not hold up each emit
anew. Short, because a tree that is missing hides events from those bound above."""

MAX_LOOKUPS = 1000
"""Look-ups at a time that nobody waits for. Those that emits wait for are as many as the emits."""

TURNS = 10
"""Parts in which a look-up's time is counted. A loop that is busy for long counts as one of them,
so that a burst of emits does not take its own work for the resolver's silence."""


class AccountCache:
    """Remembers what a resolver answered, for ``ttl`` seconds, for ``size`` accounts.

    Who waits for a look-up has its answer from there, and not from what is remembered, which may
    be forgotten again by then.
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
        """Return the ancestors if they need not be waited for, else ``None``."""
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
        except BaseException as exc:  # whatever a resolver raises costs no event, a cancel neither
            return self._failed(account_id, exc)
        asking = self._spawn(_result_of(found))
        asking.add_done_callback(_retrieve)
        if inspect.iscoroutine(found):
            # One that was cancelled before its first step would be reported as never awaited.
            asking.add_done_callback(lambda _: found.close())
        lookup: asyncio.Task[Ancestors] = self._spawn(self._look_up(account_id, asking))
        if lookup.done() and not lookup.cancelled():  # an eager task, and an answer at once
            return lookup.result()
        self._lookups[account_id] = lookup
        lookup.add_done_callback(lambda _: self._lookups.pop(account_id))
        return None

    async def ancestors(self, account_id: str) -> Ancestors:
        """Return the ancestors, waiting for the resolver at most ``timeout`` seconds.

        Never raises for the resolver. Cancellation: safe; the look-up goes on for the others.
        """
        tree = self.known(account_id)
        if tree is not None:
            return tree
        lookup = self._lookups[account_id]
        await asyncio.wait({lookup})
        return () if lookup.cancelled() else lookup.result()

    def prepare(self, account_id: str) -> None:
        """Begin the look-up that ``ancestors`` will wait for, so that many go on at once."""
        if len(self._lookups) < MAX_LOOKUPS:
            self.known(account_id)

    def known_or_empty(self, account_id: str) -> Ancestors:
        """Like ``ancestors`` for those who cannot wait: empty, and counted, if it would."""
        tree = self.known(account_id) if len(self._lookups) < MAX_LOOKUPS else None
        if tree is None:
            self._on_failure(account_id, TimeoutError("emit_nowait cannot wait for the look-up"))
            return ()
        return tree

    async def _look_up(self, account_id: str, asking: asyncio.Task[Sequence[str]]) -> Ancestors:
        # Not asyncio.timeout: a resolver that swallows its cancellation would hold up the emits
        # for ever.
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
            self._known.popitem(last=False)  # the one that was learnt first
        return tree


class AccountFailures:
    """Counts and logs account look-ups that failed.

    Args:
        log: where they are logged.
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


async def _result_of(answer: Awaitable[Sequence[str]]) -> Sequence[str]:
    if asyncio.isfuture(answer):
        # It is the resolver's, and may be the answer to others too: no time-out cancels it.
        answer = asyncio.shield(answer)
    try:
        return await answer
    except SystemExit as exc:  # it would end the loop: it leaves it, where a task raises it
        raise RuntimeError(f"the resolver raised {exc!r}") from exc


def _retrieve(asking: asyncio.Task[Any]) -> None:
    """Look at how it ended, which nobody else may do once its time is over."""
    if not asking.cancelled():
        asking.exception()


def _checked(account_id: str, answer: object) -> Ancestors:
    if isinstance(answer, (str, bytes)) or not isinstance(answer, Sequence):
        raise TypeError(f"the resolver answered {answer!r}, not a sequence of account ids")
    try:
        tree = tuple([checked_account(name) for name in answer])
    except InvalidEventError as exc:
        raise TypeError(f"the resolver answered {answer!r}: {exc.reason}") from None
    if account_id in tree or len(set(tree)) < len(tree):
        raise ValueError(f"the resolver answered {answer!r} for {account_id!r}: a cycle")
    return tree
