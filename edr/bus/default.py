"""The default bus of each event loop, and the module's functions, which act on it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from inspect import signature
from typing import Any, Literal, TypeVar, Unpack, overload

from edr.bus.bus import Bus, BusOptions, name_of, parts_of
from edr.bus.callbacks import (
    BindOptions,
    BusHandle,
    Handle,
    OnOptions,
    SubscribeOptions,
    decorator,
    identity_of,
)
from edr.bus.loop_end import LoopEnd
from edr.bus.loop_guard import is_loop_running, no_loop
from edr.bus.options import keywords
from edr.bus.overflow import AnyOverflow, Gap, Overflow
from edr.bus.runner import NO_PAYLOAD, Callback
from edr.bus.statistics import SubscriptionStatistics, sum_of
from edr.bus.subscription import Subscription
from edr.errors import WrongLoopError
from edr.records import AnySeverity, AnyVerbosity, Binding, BindingFields, Event

F = TypeVar("F", bound=Callable[..., Any])

# Keyed strongly: a bus refers to its loop, so weak keys would never die. The end of the loop takes
# it out; if a loop was never closed, the start of the next one does.
_buses: dict[asyncio.AbstractEventLoop, _DefaultBus] = {}

_options: BusOptions = {}


_CLOSED_HINT = (
    "; it was the default bus of this event loop: call edr.configure() to start another, "
    "or use edr.Bus()"
)


class _DefaultBus:
    """The default bus of the running loop, which removes it from ``_buses`` when it ends."""

    def __init__(self, options: BusOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self.bus = Bus(**options)
        parts_of(self.bus).guard.closed_hint = _CLOSED_HINT
        self.bus.enter()
        self._loop_end = LoopEnd(self.remove)

    def remove(self) -> None:
        if _buses.get(self.loop) is self:
            _buses.pop(self.loop, None)


def _default_bus_of(loop: asyncio.AbstractEventLoop | None) -> Bus | None:
    entry = None if loop is None else _buses.get(loop)
    return None if entry is None else entry.bus


def _all_buses() -> list[Bus]:
    return [entry.bus for entry in _buses.copy().values()]


def configure(**options: Unpack[BusOptions]) -> None:
    """Set options of the default buses that are made from now on.

    The options are those of ``Bus``. Options of earlier calls stay in force, so several modules
    may configure one option each. To undo an option, pass its default. Call this at import time or
    at the start of ``main``. If the default bus of the running loop was drained or closed, the next
    use after this call makes another.

    Raises:
        TypeError, ValueError: an option is unknown or not valid; nothing has changed.
        RuntimeError: the default bus of the running loop is in use.
    """
    keywords("configure", options, signature(Bus).parameters)
    merged: BusOptions = {**_options, **options}
    Bus(**merged)
    loop = asyncio.get_running_loop() if is_loop_running() else None
    bus = _default_bus_of(loop)
    if bus is not None and not bus.closed:
        raise RuntimeError("the default bus of this loop is in use already; configure it before")
    if loop is not None:
        _buses.pop(loop, None)
    _options.update(options)


def configured_options() -> BusOptions:
    """Return the options with which default buses are made."""
    return _options.copy()


class DefaultBusHandle:
    """The handle of a callback that was bound before a loop ran; see ``Handle``.

    It serves the default bus of each loop that starts later.
    """

    def __init__(
        self,
        bindings: tuple[Binding, ...],
        callback: Callback,
        payload: Any,
        options: dict[str, Any],
    ) -> None:
        self.callback = callback
        self.payload = payload
        self._bindings = bindings
        self._options = options
        # Weak: the buses of loops that ended are not kept for it.
        self._handles: weakref.WeakKeyDictionary[BusHandle, asyncio.AbstractEventLoop] = (
            weakref.WeakKeyDictionary()
        )

        self._bound: weakref.WeakSet[BusHandle] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Handle {self.name!r} of {self.callback!r}>"

    @property
    def name(self) -> str:
        """The name of its subscriptions."""
        return self._options.get("name") or name_of(self.callback)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings."""
        return self._bindings

    def is_of(self, bindings: tuple[Binding, ...], callback: Callback, payload: Any) -> bool:
        """Return whether it was bound with exactly these."""
        mine = identity_of(self._bindings, self.callback, self.payload)
        return mine == identity_of(bindings, callback, payload)

    def statistics(self) -> SubscriptionStatistics:
        """Return the sums over the buses that still exist."""
        with _lock:
            bound = list(self._bound)
        return sum_of(self.name, [handle.statistics() for handle in bound])

    def bind_to(self, bus: Bus) -> BusHandle:
        """Bind the callback to ``bus`` too."""
        handle = bus.bind(self._bindings, self.callback, self.payload, **self._options)
        assert isinstance(handle, BusHandle), "a bus gives a handle of its own"
        with _lock:
            self._bound.add(handle)
        return handle

    def serve(self, bus: Bus) -> None:
        """Bind the callback to ``bus`` too, in its loop, unless one of them is over by now."""
        if self in _bound_at_import and not bus.closed:
            handle = self.bind_to(bus)
            with _lock:
                self._handles[handle] = bus.enter()

    def unbind(self) -> None:
        """End the binding in every bus, and serve no further one. Idempotent.

        Where a loop runs in another thread, it ends there soon.
        """
        with suppress(ValueError):  # unbound before, perhaps by another thread just now
            _bound_at_import.remove(self)
        if _override is not None:
            _override.leave(self)
        with _lock:
            handles = list(self._handles.items())
        for handle, loop in handles:
            _unbind(handle, loop)


def _unbind(handle: BusHandle, loop: asyncio.AbstractEventLoop | None) -> None:
    """End the binding of ``handle``, now or soon if its loop runs in another thread."""
    try:
        handle.unbind()
    except WrongLoopError:
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(handle.unbind)


_bound_at_import: list[DefaultBusHandle] = []

# Loops of several threads may start, and get their default buses, at the same time. It is held for
# a dict operation only. A signal handler that binds during it, in the same thread, gets it too.
_lock = threading.RLock()


class _Override:
    """A bus that is the default one for a while, and what it serves only so long."""

    def __init__(self, bus: Bus, successor: Callable[[], Bus] | None) -> None:
        self._successor = successor
        self._begin(bus)

    def _begin(self, bus: Bus) -> None:
        self.bus = bus
        self._handles = {handle: handle.bind_to(bus) for handle in _bound_at_import.copy()}
        _observe(bus)

    def next_if_over(self) -> Bus:
        if self._successor is not None and self.bus.closed:
            self._begin(self._successor())
        if self.bus.loop is None and is_loop_running():
            self.bus.enter()  # as where a default bus is made: then threads can emit on it
        return self.bus

    def serve(self, handle: DefaultBusHandle) -> None:
        if not self.bus.closed:
            self._handles[handle] = handle.bind_to(self.bus)

    def leave(self, handle: DefaultBusHandle) -> None:
        bound = self._handles.pop(handle, None)
        if bound is not None and not self.bus.closed:
            _unbind(bound, self.bus.loop)

    def end(self) -> None:
        for handle in list(self._handles):
            self.leave(handle)


_override: _Override | None = None


def default_bus() -> Bus:
    """Return the default bus of the running event loop; it is made on first use.

    After it was drained or closed, this still returns it, and what is emitted there raises
    ``BusClosedError``; ``configure`` makes room for another.

    Raises:
        WrongLoopError: no event loop runs in this thread.
    """
    if _override is not None:
        return _override.next_if_over()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise no_loop(
            "call this in a coroutine, such as the main of edr.run(main()); before any loop runs, "
            "take edr.Emitter and @edr.on; from another thread, emit_threadsafe"
        ) from None
    bus = _default_bus_of(loop)
    if bus is None or parts_of(bus).guard.is_inherited:
        return _made_for(loop, _options)
    return bus


def start_default_bus(**options: Unpack[BusOptions]) -> Bus:
    """Return an open default bus of the running loop; make one unless there is one.

    A default bus that was drained or closed is replaced. Within ``override_default_bus`` this
    returns the bus of the block, without the ``options``.

    Args:
        options: of this bus only, in addition to the options of ``configure``.

    Raises:
        RuntimeError: there are ``options``, and the default bus is in use already.
        WrongLoopError: no event loop runs in this thread.
    """
    if _override is not None or not is_loop_running():
        return default_bus()
    loop = asyncio.get_running_loop()
    bus = _default_bus_of(loop)
    if bus is None or bus.closed:
        return _made_for(loop, {**_options, **options})
    if options:
        raise RuntimeError(
            "the default bus of this loop is in use already; start it before the first emit"
        )
    return bus


def _made_for(loop: asyncio.AbstractEventLoop, options: BusOptions) -> Bus:
    """Make the default bus of ``loop``, which is running, and bind the callbacks to it."""
    for other in list(_buses):
        if other.is_closed():
            _buses.pop(other, None)  # another thread may have been faster
    entry = _buses[loop] = _DefaultBus(options)
    for handle in _bound_at_import.copy():
        handle.serve(entry.bus)
    _observe(entry.bus)
    return entry.bus


@contextmanager
def override_default_bus(bus: Bus, *, successor: Callable[[], Bus] | None = None) -> Iterator[Bus]:
    """Make ``bus`` the default bus of every loop within this block; for tests.

    Callbacks that were bound at import time serve it too. It belongs to the loop that uses it
    first; another loop that runs at the same time gets a ``WrongLoopError``. Blocks nest. The end
    of the block does not close the bus.

    Args:
        bus: the default bus.
        successor: makes the next default bus when ``bus`` is closed, such as with its loop; without
            it, the errors of a closed bus are raised.
    """
    global _override  # noqa: PLW0603 - one for the process, as the default buses are
    before, _override = _override, _Override(bus, successor)
    ours = _override
    try:
        yield bus
    finally:
        _override = before
        ours.end()


_observers: list[Callable[[Bus], object]] = []


def _observe(bus: Bus) -> None:
    for came in _observers:
        came(bus)


@contextmanager
def observe_default_buses(came: Callable[[Bus], object]) -> Iterator[None]:
    """Call ``came`` with each default bus there is, and with each that is made; for tests.

    It is called in the loop of the bus, or before the bus has one. The loops of other threads,
    such as a test client's, are waited for.

    Raises:
        TimeoutError: the loop of another thread did not answer in 5 s.
    """
    _observers.append(came)
    try:
        for bus in _all_buses() if _override is None else [_override.bus]:
            if not bus.closed:
                parts_of(bus).guard.call(partial(came, bus))
        yield
    finally:
        _observers.remove(came)


def emit(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
    durable: bool = False,  # noqa: FBT001, FBT002 - as the method
) -> Coroutine[Any, Any, int]:
    """Emit an event to every subscription that matches it.

    Acts on the default bus of the running loop.

    Returns the number of subscriptions that queued it. Their consumers run later, in their own
    tasks, and may still fail on it.

    Order: the emits of a task stay in order. Waiting: only for full queues, see ``Overflow``;
    never for the code of a subscriber. Cancellation: subscriptions with room have the event;
    full ones drop it, counted as ``cancelled``.

    ``durable=True`` waits until the journal of the bus has stored the event, whether or not the
    bindings of the journal match. If this wait is cancelled, the event may or may not be
    stored.

    Raises:
        InvalidEventError: a name, a level or the body is not valid; no subscription received
            it.
        BodyTooLargeError: the body is larger than ``Bus(max_body=…)``; as above.
        BusClosedError, WrongLoopError: the bus cannot be used here; as above.
        DeadlockError: the emit would wait for its own task.
        ValueError: ``durable=True``, and the bus has no journal; as above.
        edr.journal.JournalError: the event may not be stored; subscriptions received it.
    """
    bus = default_bus()
    if durable:
        return bus.emit(app_name, app_version, severity, verbosity, body, account_id, durable=True)
    return bus.emit(app_name, app_version, severity, verbosity, body, account_id)


def publish(
    event: Event,
    *,
    exclude: Subscription[Any] | None = None,
    durable: bool = False,
    resolve: bool = False,
) -> Coroutine[Any, Any, int]:
    """Emit an existing event unchanged, such as one from a file, a broker or another bus.

    Acts on the default bus of the running loop.

    Args:
        event: the event.
        exclude: a subscription that does not receive it, because the event came from there.
        durable: wait until the bus's journal has stored the event, as ``emit`` does.
        resolve: set an empty ``account_tree`` to the ancestors from ``Bus(accounts=…)``, as
            ``emit`` does. An event without an account stays unchanged.

    Returns, waits and raises as ``emit`` does.
    """
    return default_bus().publish(event, exclude=exclude, durable=durable, resolve=resolve)


def publish_all(
    events: Iterable[Event],
    *,
    exclude: Subscription[Any] | None = None,
    durable: bool = False,
    resolve: bool = False,
) -> Coroutine[Any, Any, int]:
    """Emit existing events, as ``publish`` called for each one, with one wait for storage.

    Acts on the default bus of the running loop.

    All events are checked first. The subscriptions of the moment of the call receive them, in
    their order; events of other tasks may come between two of them.

    Args:
        events: the events.
        exclude: a subscription that does not receive them.
        durable: wait once, until the bus's journal has stored all events. Events that are
            published without a wait share a commit.
        resolve: as in ``publish``, with one look-up for each account.

    Returns:
        The sum of the results of ``publish`` for each event: how many times a subscription
        queued an event.

    Waiting: for full queues, after each event, as ``publish``. Cancellation: the first events
    were published, the others were not; with ``durable=True`` the first ones may or may not be
    stored.

    Raises:
        InvalidEventError, BodyTooLargeError: an event is not valid, and ``path`` begins with
            its index, such as ``[2]``; no event was published.
        ValueError: ``durable=True``, and the bus has no journal; as above.
        BusClosedError, WrongLoopError: the bus cannot be used here; as above. If the bus closes
            during the call, the first events were published.
        DeadlockError: as ``emit``; the events after that one were not published.
        edr.journal.EventsRefusedError: the journal refused the events that the error names, and
            stored the others; subscriptions received all of them.
        edr.journal.JournalError: the events may not be stored; subscriptions received them. A
            note on the error names refused ones.
    """
    return default_bus().publish_all(events, exclude=exclude, durable=durable, resolve=resolve)


def emit_nowait(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
) -> bool:
    """Emit from any thread without waiting, for plain functions and log handlers.

    Acts on the default bus; in a thread without a loop, on the only one whose loop is running.
    ``WrongLoopError`` is raised if no loop or several loops have one.

    In the loop this works as ``emit``, but a full queue applies its policy at once, and under
    BLOCK drops the event, counted as ``would_block``. If the account look-up takes time, the
    event has an empty ``account_tree``. In another thread, the event is checked and copied
    there, and handed to the loop.

    Returns:
        Whether the bus accepted the event. It refuses the event if it is closed or drains, or
        if 1,024 events of other threads wait for the loop. Refused events are counted in
        ``statistics().refused`` and logged.

    Raises:
        InvalidEventError: as ``emit``.
        WrongLoopError: no loop has used the bus yet, another loop runs in the thread of the
            bus, or this is a fork of its process.
    """
    return _bus_for_thread().emit_nowait(
        app_name, app_version, severity, verbosity, body, account_id
    )


def emit_threadsafe(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
) -> concurrent.futures.Future[int]:
    """Emit from any thread, and wake the loop.

    Acts on the default bus; in a thread without a loop, on the only one whose loop is running.
    ``WrongLoopError`` is raised if no loop or several loops have one.

    The event is checked and copied in the calling thread. The returned future has the
    result of ``emit`` once every queue has accepted or dropped the event. The events of a
    thread stay in order. This waits only while 1,024 events of other threads are pending, and
    never in the thread of the loop.

    Raises:
        InvalidEventError: as ``emit``.
        BusClosedError: the bus was closed, or its loop was.
        WrongLoopError: no loop has used the bus yet, or this is a fork of its process.
    """
    return _bus_for_thread().emit_threadsafe(
        app_name, app_version, severity, verbosity, body, account_id
    )


def _bus_for_thread() -> Bus:
    try:
        return default_bus()
    except WrongLoopError:
        running = [
            bus
            for bus in _all_buses()
            if bus.loop is not None
            and bus.loop.is_running()
            and not bus.closed  # in a fork, the loop of the parent seems to run
        ]
        if len(running) == 1:
            return running[0]
        if not running:
            raise WrongLoopError(
                "no default bus runs, so there is none to emit on: a loop has one from its first "
                "use of it on, such as edr.default_bus() in a coroutine, and until it is drained"
            ) from None
        raise WrongLoopError(
            f"{len(running)} default buses run, so this thread cannot tell which is meant; "
            "call emit_threadsafe of a bus: edr.default_bus() in the loop gives it"
        ) from None


def publish_nowait(event: Event, *, exclude: Subscription[Any] | None = None) -> bool:
    """Emit an existing event from any thread, without waiting.

    Acts on the default bus; in a thread without a loop, on the only one whose loop is running.
    ``WrongLoopError`` is raised if no loop or several loops have one.

    Returns and raises as ``emit_nowait`` does.

    Args:
        event: the event.
        exclude: a subscription that does not receive it. Only in the loop of the bus.
    """
    return _bus_for_thread().publish_nowait(event, exclude=exclude)


def publish_threadsafe(event: Event) -> concurrent.futures.Future[int]:
    """Emit an existing event from any thread, as ``emit_threadsafe`` does.

    Acts on the default bus; in a thread without a loop, on the only one whose loop is running.
    ``WrongLoopError`` is raised if no loop or several loops have one.
    """
    return _bus_for_thread().publish_threadsafe(event)


@overload
def subscribe(
    *bindings: Binding, gaps: Literal[False] = False, **options: Unpack[SubscribeOptions]
) -> Subscription: ...
@overload
def subscribe(
    *bindings: Binding, gaps: bool, **options: Unpack[SubscribeOptions]
) -> Subscription[Event | Gap]: ...
def subscribe(
    *bindings: Binding,
    capacity: int = 1024,
    overflow: AnyOverflow = Overflow.BLOCK,
    name: str | None = None,
    gaps: bool = False,
    **wanted: Unpack[BindingFields],
) -> Subscription[Any]:
    """Subscribe to the events that any of ``bindings`` matches; without one, to every event.

    Acts on the default bus of the running loop.

    The fields of one binding may be given as keywords: ``subscribe(severity="warning")``.
    A ``Binding()`` matches events of verbosity ``info`` and higher.

    The subscription is registered when this returns, so it receives every later event. An event
    that several of its bindings match is received once.

    Args:
        bindings: the events to receive.
        capacity: limit of queued events.
        overflow: the policy for an event that finds a full queue.
        name: the name in log lines and statistics.
        gaps: put a ``Gap`` into the stream where events were dropped.
        wanted: the fields of one more binding.

    Raises:
        InvalidBindingError: an argument is not a binding.
        TypeError, ValueError: an option is not valid.
    """
    return default_bus().subscribe(
        *bindings, capacity=capacity, overflow=overflow, name=name, gaps=gaps, **wanted
    )


def bind(
    bindings: Binding | Iterable[Binding],
    callback: Callback,
    payload: Any = NO_PAYLOAD,
    **options: Unpack[BindOptions],
) -> Handle:
    """Call ``callback(event)`` or ``callback(event, payload)`` for matching events.

    Acts on the default bus. If no loop is running, it acts on the default bus of each loop that
    starts later.

    The callback, async or plain, runs in a task of the bus, one event after the other. A plain
    one blocks the loop while it runs. If it raises, exits or cancels itself, that is logged,
    counted and passed to ``on_error``, and the next event is handled.

    Binding the same callback, payload and bindings again returns the same handle with its
    options unchanged.

    Args:
        bindings: the events to receive.
        callback: called with each event.
        payload: its second argument; without one it is called with the event alone.
        name: the name in log lines and statistics; by default the callback's own.
        capacity: limit of queued events.
        overflow: the policy for an event that finds a full queue.
        concurrency: concurrent calls; with more than 1, events may be reordered.
        timeout: seconds for each call of an async callback; ``None`` for no limit.
        retries: further calls after a failed one.
        backoff: seconds before the first retry, doubled for each further one.
        on_error: ``on_error(exception, event)``, instead of the bus's.
    """
    if is_loop_running():
        return default_bus().bind(bindings, callback, payload, **options)
    wanted = (bindings,) if isinstance(bindings, Binding) else tuple(bindings)
    for handle in _bound_at_import.copy():
        if handle.is_of(wanted, callback, payload):
            return handle
    Bus().bind(wanted, callback, payload, **options)  # a wrong argument is refused here and now
    handle = DefaultBusHandle(wanted, callback, payload, dict(options))
    _bound_at_import.append(handle)
    if _override is not None:
        _override.serve(handle)
    for bus in _all_buses():  # of other threads, or of a loop that pauses
        loop = bus.loop
        if loop is not None and not bus.closed:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(handle.serve, bus)
    return handle


@overload
def on(callback: F, /) -> F: ...
@overload
def on(*bindings: Binding, **options: Unpack[OnOptions]) -> Callable[[F], F]: ...
def on(*bindings: Any, **options: Any) -> Any:
    """Decorate a callback: ``bind`` it, with the same options, and return it unchanged.

    Acts on the default bus. If no loop is running, it acts on the default bus of each loop that
    starts later.

    The fields of one binding may be given as keywords, beside the options:
    ``@bus.on(app_name="billing", retries=2)``. Without a binding, it receives every event:
    ``@bus.on`` and ``@bus.on()`` are equal.
    """
    return decorator(bind, bindings, options)
