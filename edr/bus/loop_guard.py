"""``LoopGuard``: binds a bus to one event loop, one thread and one process, until it is closed.

A call from another loop or thread, from a fork, or after the end raises an error that names the
call to use instead.

The hot path of a bus makes one test: is this thread ``thread``? That is 0, which no thread has,
whenever a use must be checked. ``enter`` then finds the reason.

Another thread that reads statistics sets ``thread`` to 0 too. So the loop's thread gives it the
answer at its next turn or at its next use of the bus, whichever is first. Both are moments at which
nothing of the bus is half changed. Rejected: to look for such a moment in the stack of the loop's
thread. The frames of a thread that runs may end while they are read.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, get_ident
from time import monotonic, sleep
from typing import TypeVar

from edr._util.forks import tracked_across_forks
from edr.bus.loop_end import LoopEnd
from edr.errors import BusClosedError, WrongLoopError

T = TypeVar("T")

ANSWER_WITHIN = 0.25
"""Seconds for which another thread waits for the loop to answer it."""

CALLED_WITHIN = 5.0
"""Seconds for which a test waits for the loop of another thread, which may hang."""

READ_WITHIN = 1.0
"""Seconds for which a thread then tries to read a consistent copy itself."""

READ_AGAIN_AFTER = 0.0001
"""Seconds between two readings. They let a thread that waits for the interpreter run."""


class LoopGuard:
    """Binds a bus to the loop that first uses it, and rejects any other.

    Args:
        describe: returns the text that names the bus in errors.
        on_change: ``on_change(loop, thread)``, called when one of the two changes.
        on_enter: ``on_enter(loop)``, called once: when a loop first uses the bus.
        on_loop_end: called at most once: when the loop ends before the bus is closed.
    """

    def __init__(
        self,
        describe: Callable[[], str],
        on_change: Callable[[asyncio.AbstractEventLoop | None, int], object],
        on_enter: Callable[[asyncio.AbstractEventLoop], object],
        on_loop_end: Callable[[], object],
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: int = 0
        """The thread that may use the bus without a check; 0 if each use must be checked."""
        self.home: int = 0
        """The thread of the loop, also after the end of the bus."""
        self.closed: bool = False
        self.closed_hint: str = ""
        """Ends the error of a use after the end: what to do instead."""
        self._describe = describe
        self._on_change = on_change
        self._on_enter = on_enter
        self._on_loop_end = on_loop_end
        self._must_check = False
        """Whether ``thread`` stays 0."""
        self._questions: list[Callable[[], None]] = []
        """Calls that other threads wait for."""
        self._changing = Lock()
        """Held while ``thread`` and the questions change."""
        self._pid = os.getpid()
        self._loop_end: LoopEnd | None = None
        _all.add(self)

    # State

    @property
    def running_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the bus, for code that runs only after ``enter``."""
        assert self.loop is not None
        return self.loop

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one that made the bus."""
        return self._pid != os.getpid()

    @property
    def is_over(self) -> bool:
        """Whether the bus was closed, or its loop was, or it belongs to the parent process."""
        is_loop_closed = self.loop is not None and self.loop.is_closed()
        return self.closed or self.is_inherited or is_loop_closed

    def check_each_use(self) -> None:
        """Make ``thread`` 0, so that no use passes without a check."""
        with self._changing:
            self._must_check = True
            self._change(0)

    def trust_thread(self) -> None:
        """Restore the thread of the loop, which may use the bus without a check."""
        with self._changing:
            self._must_check = False
            self._change(self.home)

    def close(self) -> None:
        """Reject every further use."""
        self.closed = True
        self.check_each_use()
        if self._loop_end is not None:
            self._loop_end.cancel()

    def after_fork(self) -> None:
        """Check each use in this process. A thread of its parent may have held the lock."""
        self._changing = Lock()
        self.check_each_use()

    def _change(self, thread: int) -> None:
        self.thread = thread
        self._on_change(self.loop, thread)

    # Checks

    def enter(self) -> asyncio.AbstractEventLoop:
        """Bind the bus to the running loop, if it has none yet, and return the loop.

        Raises:
            BusClosedError: the bus was drained or closed.
            WrongLoopError: it belongs to another loop or thread, or to the process that forked.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.check_open()
            raise no_loop(f"from here, use emit_threadsafe of {self._describe()}") from None
        if self.loop is not None and self.loop is not loop and not self.is_inherited:
            raise WrongLoopError(
                f"{self._describe()} belongs to another event loop; "
                "use emit_threadsafe, or a bus for each loop"
            )
        self.check_open()
        if self._questions:
            self.answer()
        if self.loop is None:
            self.loop = loop
            self.home = get_ident()
            self._change(self.home)
            self._loop_end = LoopEnd(self._loop_ended)
            self._on_enter(loop)
        return loop

    def _loop_ended(self) -> None:
        self._on_loop_end()

    def check_open(self) -> None:
        """Raise if the bus is closed, or belongs to the parent of this process."""
        if self.closed:
            raise BusClosedError(f"{self._describe()} was drained or closed{self.closed_hint}")
        if self._pid != os.getpid():
            raise WrongLoopError(
                f"{self._describe()} belongs to process {self._pid}, which forked; "
                "make a new event loop in the child, and a new bus there"
            )

    def check_loop(self) -> None:
        """Raise if another loop than that of the bus runs here."""
        if self.loop is not None and is_loop_running() and not _runs_here(self.loop):
            raise WrongLoopError(
                f"{self._describe()} belongs to another event loop; call this there"
            )

    def check_usable(self) -> None:
        """Raise unless the bus is unused, or belongs to the running loop.

        Raises:
            BusClosedError, WrongLoopError: as ``enter``.
        """
        if is_loop_running():
            self.enter()
            return
        self.check_open()
        if self.loop is not None:
            raise no_loop(
                f"call this in the loop of {self._describe()}, such as in a coroutine there"
            )

    def check_thread(self, call: str) -> None:
        """Raise if the loop runs in another thread, from which ``call`` must be made.

        Raises:
            WrongLoopError: it does.
        """
        loop = self.loop
        if loop is not None and loop.is_running() and not _runs_here(loop):
            raise WrongLoopError(
                f"{self._describe()} runs in another thread; "
                f"from here, use loop.call_soon_threadsafe({call}) of its loop"
            )

    def loop_for_threads(self) -> asyncio.AbstractEventLoop:
        """Return the loop, for a thread that hands an event to it.

        Raises:
            WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
        """
        if self.is_inherited:
            self.check_open()
        if self.loop is None:
            raise WrongLoopError(
                f"{self._describe()} has no event loop yet; "
                "call its enter() in the loop that will run it"
            )
        return self.loop

    # Calls from other threads

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` on the loop's thread soon, if there is a loop. From any thread."""
        if self.loop is not None and not self.is_inherited:
            with suppress(RuntimeError):  # the loop is closed, so nothing is emitted any more
                self.loop.call_soon_threadsafe(callback)

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the loop, or here if the bus has no loop yet.

        From another thread this waits until the loop has called it. A loop that does not run is
        run for the call. Nothing of a closed loop can run, so then ``function`` is called here.

        Raises:
            TimeoutError: the loop runs in another thread, and did not answer in 5 s.
            Exception: what ``function`` raises.
        """
        loop = self.loop
        if loop is None or loop.is_closed() or _runs_here(loop):
            return function()

        async def call() -> T:
            return function()

        if not loop.is_running():
            return loop.run_until_complete(call())
        return asyncio.run_coroutine_threadsafe(call(), loop).result(CALLED_WITHIN)

    def read(self, function: Callable[[], T]) -> T:
        """Return the result of ``function`` at a moment at which the loop changes nothing.

        From another thread it is called on the loop's thread: at its next turn, or at its next use
        of the bus. Code of the program may hold the loop and not use the bus for
        ``ANSWER_WITHIN``; a loop that does not run may be run at any moment. Then ``function`` is
        called in this thread, until it returns the same twice. It must change nothing.
        """
        loop = self.loop
        if loop is not None and get_ident() == self.home:
            return function()
        if loop is None or not loop.is_running():
            return self._read_from_outside(function)
        answer: Future[T] = Future()

        def give() -> None:
            try:
                answer.set_result(function())
            except Exception as exc:  # raised in the thread that called ``read``
                answer.set_exception(exc)

        with self._changing:
            self._questions.append(give)
            self._change(0)
        with suppress(TimeoutError, RuntimeError):  # no answer, or the loop was closed just now
            loop.call_soon_threadsafe(self.answer)
            return answer.result(ANSWER_WITHIN)
        return self._read_from_outside(function)

    def answer(self) -> None:
        """Make the calls that other threads wait for. On the loop's thread, between two uses."""
        with self._changing:
            questions, self._questions = self._questions, []
            if not self._must_check:
                self._change(self.home)
        for question in questions:
            question()

    @staticmethod
    def _read_from_outside(function: Callable[[], T]) -> T:
        """Return the same result of two calls, or after ``READ_WITHIN`` seconds the last one."""
        give_up = monotonic() + READ_WITHIN
        while monotonic() < give_up:
            with suppress(RuntimeError):  # a dict or a deque that changed while it was read
                first = function()
                sleep(READ_AGAIN_AFTER)
                if function() == first:
                    return first
        return function()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def no_loop(way_out: str) -> WrongLoopError:
    """Return the error of a call that needs a running event loop of asyncio."""
    trio = sys.modules.get("trio")  # a program that runs in it has imported it
    if trio is not None and trio.lowlevel.in_trio_run():
        return WrongLoopError(
            "this is trio, and a bus needs asyncio: run it in a thread of its own, with "
            "asyncio.run, and emit from here with emit_threadsafe"
        )
    return WrongLoopError(f"no event loop runs in this thread; {way_out}")


def is_loop_running() -> bool:
    """Return whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_all = tracked_across_forks(LoopGuard.after_fork)
