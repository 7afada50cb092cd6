"""``LoopBound``: what belongs to one event loop, one thread and one process, until it is closed.

A bus is used from coroutines that trust it to be in their own loop. Whoever uses it from another
loop or thread, or in a fork, or after its end, hears so at once, with the call to use instead.

The hot path asks one question: is this thread ``_thread``? It is 0, which is no thread's, while
the bus cannot be used as it is; ``enter`` finds out why.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import get_ident
from time import monotonic, sleep
from typing import Any, Never, TypeVar

from edr.bus.loop_end import LoopEnd
from edr.errors import BusClosedError, WrongLoopError

T = TypeVar("T")

ANSWER_WITHIN = 0.25
"""Seconds for which another thread waits for the loop to answer it."""

CALLED_WITHIN = 5.0
"""Seconds for which a test waits for the loop of another thread, which may hang."""

READ_WITHIN = 1.0
"""Seconds for which it then tries to read a consistent copy by itself."""

_WRITERS = ("edr.bus.bounded_queue", "edr.bus.registry")
"""The modules that change what statistics read. A thread that is interrupted in one of them has
changed a part of it only."""


class LoopBound:
    """Knows its loop from the first use on, and refuses any other."""

    _after_end = ""
    """Ends the error of a use after the end: what to do instead."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread = 0
        self._home = 0  # the thread of the loop, also when it is over
        self._closed = False
        self._pid = os.getpid()
        self._loop_end: LoopEnd | None = None
        _all.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it belongs to, once one has used it."""
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    def enter(self) -> asyncio.AbstractEventLoop:
        """Make the running loop the bus's own, if it has none yet, and return it.

        Every method that needs it does this; call it yourself only to fix the loop early.

        Raises:
            BusClosedError: the bus was drained or closed.
            WrongLoopError: it belongs to another loop or thread, or to the process that forked.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._check_open()
            raise no_loop(f"from here, use emit_threadsafe of {self!r}") from None
        if self._loop is not None and self._loop is not loop and self._pid == os.getpid():
            raise WrongLoopError(
                f"{self!r} belongs to another event loop; "
                "use emit_threadsafe, or a bus for each loop"
            )
        self._check_open()
        if self._loop is None:
            self._loop = loop
            self._thread = self._home = get_ident()
            self._loop_end = LoopEnd(self._loop_ends)
            self._entered(loop)
        return loop

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} must not be copied or pickled; make another one")

    def _entered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin what needs a loop. Called once."""
        raise NotImplementedError

    def _loop_ends(self) -> None:
        """End what needs a loop, now: it runs nothing more. Called at most once."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether it is closed, or the parent's of this process."""
        return self._closed or self._pid != os.getpid()

    def _check_open(self) -> None:
        """Raise if it is closed, or the parent's of this process."""
        if self._closed:
            raise BusClosedError(f"{self!r} was drained or closed{self._after_end}")
        if self._pid != os.getpid():
            raise WrongLoopError(
                f"{self!r} belongs to process {self._pid}, which forked; "
                "make a new event loop in the child, and a new bus there"
            )

    def _check_loop(self) -> None:
        """Raise if another loop than the bus's own runs here."""
        if self._loop is not None and is_loop_running() and not _runs_here(self._loop):
            raise WrongLoopError(f"{self!r} belongs to another event loop; call this there")

    def check_usable(self) -> None:
        """Let through before any loop has used it, and in its own.

        Raises:
            BusClosedError, WrongLoopError: as ``enter``.
        """
        if is_loop_running():
            self.enter()
            return
        self._check_open()
        if self._loop is not None:
            raise no_loop(f"call this in the loop of {self!r}, such as in a coroutine there")

    def check_thread(self, call: str) -> None:
        """Let through where nothing of the loop can run at the same time.

        Raises:
            WrongLoopError: the loop runs in another thread, from which ``call`` is to be made.
        """
        loop = self._loop
        if loop is not None and loop.is_running() and not _runs_here(loop):
            raise WrongLoopError(
                f"{self!r} runs in another thread; "
                f"from here, use loop.call_soon_threadsafe({call}) of its loop"
            )

    def call_in_loop(self, function: Callable[[], T]) -> T:
        """Call ``function`` where the bus may be used: in its loop, or here before it has one.

        From another thread this waits until the loop has called it; a loop that does not run runs
        for it. A loop that was closed is over, and nothing of it can run: it is called here.

        Raises:
            TimeoutError: the loop runs in another thread, and did not answer in 5 s.
            Exception: what ``function`` raises.
        """
        loop = self._loop
        if loop is None or loop.is_closed() or _runs_here(loop):
            return function()

        async def call() -> T:
            return function()

        if not loop.is_running():
            answer: T = loop.run_until_complete(call())
            return answer
        return asyncio.run_coroutine_threadsafe(call(), loop).result(CALLED_WITHIN)

    def ask(self, read: Callable[[], T]) -> T:
        """Return what ``read`` gives at a moment at which the loop changes nothing.

        From another thread it is called on the loop's. A loop that does not answer within
        ``ANSWER_WITHIN`` is held by code of the program; one that does not run may be run at any
        moment. Then ``read`` is called in this thread, until it gives the same twice while the
        loop's thread is not at work on the bus. It must change nothing.
        """
        loop = self._loop
        if loop is not None and get_ident() == self._home:
            return read()
        if loop is None or not loop.is_running():
            return self._read_from_outside(read)
        answer: Future[T] = Future()

        def give() -> None:
            try:
                answer.set_result(read())
            except Exception as exc:  # the asking thread's to know
                answer.set_exception(exc)

        with suppress(TimeoutError, RuntimeError):  # it does not answer, or was closed just now
            loop.call_soon_threadsafe(give)
            return answer.result(ANSWER_WITHIN)
        return self._read_from_outside(read)

    def _read_from_outside(self, read: Callable[[], T]) -> T:
        """Return a consistent copy, or after ``READ_WITHIN`` seconds what is read then.

        A thread switch can come between any two steps of the loop's thread, also in the middle of
        a put. That the thread is at work is asked before and between two readings: an operation
        that was under way at the first one is either seen then, or has changed the second one.
        """
        give_up = monotonic() + READ_WITHIN
        while monotonic() < give_up:
            with suppress(RuntimeError):  # a dict or a deque that changed while it was read
                if not self._is_at_work():
                    first = read()
                    if not self._is_at_work() and read() == first:
                        return first
            sleep(0)
        return read()

    def _is_at_work(self) -> bool:
        frames = sys._current_frames()
        mine = get_ident()
        at_work = [frames.get(self._home)] if self._home else []
        if not self._home:  # any thread may begin to use it
            at_work = [frame for thread, frame in frames.items() if thread != mine]
        for each in at_work:
            frame = each
            while frame is not None:
                if frame.f_globals.get("__name__") in _WRITERS:
                    return True
                frame = frame.f_back
        return False

    def _unwatch_end(self) -> None:
        if self._loop_end is not None:
            self._loop_end.cancel()

    def __del__(self) -> None:
        if getattr(self, "_loop_end", None) is not None:
            self._unwatch_end()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def no_loop(way_out: str) -> WrongLoopError:
    """Return the error of a call that needs a running event loop of asyncio, and finds none."""
    trio = sys.modules.get("trio")  # who runs in it has imported it
    if trio is not None and trio.lowlevel.in_trio_run():
        return WrongLoopError(
            "this is trio, and a bus needs asyncio: run it in a thread of its own, with "
            "asyncio.run, and emit from here with emit_threadsafe"
        )
    return WrongLoopError(f"no event loop runs in this thread; {way_out}")


def is_loop_running() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_all: weakref.WeakSet[LoopBound] = weakref.WeakSet()


def _after_fork() -> None:
    for each in _all:
        each._thread = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
