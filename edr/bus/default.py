"""The default bus of each event loop, and the module's functions, which act on it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from inspect import signature
from typing import Any, Literal, TypeVar, Unpack, overload

from edr.bus.bus import Bus
from edr.bus.callbacks import (
    AnyHandle,
    BindOptions,
    Handle,
    OnOptions,
    SubscribeOptions,
    decorator,
    identity_of,
)
from edr.bus.loop_bound import is_loop_running, no_loop
from edr.bus.options import keywords
from edr.bus.overflow import AnyOverflow, Gap, Overflow
from edr.bus.runner import NO_PAYLOAD, Callback
from edr.bus.subscription import Subscription
from edr.errors import WrongLoopError
from edr.records import AnySeverity, AnyVerbosity, Binding, BindingFields, Event

F = TypeVar("F", bound=Callable[..., Any])

# Keyed strongly: a bus refers to its loop, so weak keys would never die. The end of the loop takes
# it out; where a loop ended without a word, the next one does.
_buses: dict[asyncio.AbstractEventLoop, _DefaultBus] = {}

_options: dict[str, Any] = {}


class _DefaultBus(Bus):
    _after_end = (
        "; it was the default bus of this event loop: call edr.configure() to start another, "
        "or use edr.Bus()"
    )

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one that made the bus."""
        return self._pid != os.getpid()

    def _loop_ends(self) -> None:
        super()._loop_ends()
        if _buses.get(self._loop) is self:
            _buses.pop(self._loop, None)


def configure(**options: Any) -> None:
    """Set the options of ``Bus`` with which default buses are made from now on.

    Each call replaces the one before. Call it at import time, or as the first thing in ``main``.
    Where the default bus of the running loop was drained or closed, the next use starts another.

    Raises:
        TypeError, ValueError: an option is unknown or wrong; nothing has changed.
        RuntimeError: the default bus of the running loop is in use.
    """
    keywords("configure", options, signature(Bus).parameters)
    Bus(**options)
    loop = asyncio.get_running_loop() if is_loop_running() else None
    bus = None if loop is None else _buses.get(loop)
    if bus is not None and not bus.is_over:
        raise RuntimeError("the default bus of this loop is in use already; configure it before")
    if loop is not None:
        _buses.pop(loop, None)
    _options.clear()
    _options.update(options)


def configured_options() -> dict[str, Any]:
    """Return the options with which default buses are made."""
    return dict(_options)


class ImportTimeHandle:
    """A callback bound before any loop ran: it serves the default bus of each loop to come."""

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
        self._handles: weakref.WeakKeyDictionary[Handle, asyncio.AbstractEventLoop] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"<ImportTimeHandle of {self.callback!r}>"

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What was bound."""
        return self._bindings

    def is_of(self, bindings: tuple[Binding, ...], callback: Callback, payload: Any) -> bool:
        """Tell whether it was bound with just these."""
        mine = identity_of(self._bindings, self.callback, self.payload)
        return mine == identity_of(bindings, callback, payload)

    def bind_to(self, bus: Bus) -> Handle:
        """Bind the callback to ``bus`` too."""
        return bus.bind(self._bindings, self.callback, self.payload, **self._options)

    def serve(self, bus: Bus) -> None:
        """Bind the callback to ``bus`` too, in its loop, unless one of them is over by now."""
        if self in _bound_at_import and not bus.is_over:
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


def _unbind(handle: Handle, loop: asyncio.AbstractEventLoop | None) -> None:
    """End the binding of ``handle``, now or soon if its loop runs in another thread."""
    try:
        handle.unbind()
    except WrongLoopError:
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(handle.unbind)


_bound_at_import: list[ImportTimeHandle] = []

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
        if self._successor is not None and self.bus.is_over:
            self._begin(self._successor())
        if self.bus.loop is None and is_loop_running():
            self.bus.enter()  # as where a default bus is made: then threads can emit on it
        return self.bus

    def serve(self, handle: ImportTimeHandle) -> None:
        if not self.bus.is_over:
            self._handles[handle] = handle.bind_to(self.bus)

    def leave(self, handle: ImportTimeHandle) -> None:
        bound = self._handles.pop(handle, None)
        if bound is not None and not self.bus.is_over:
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
    bus = _buses.get(loop)
    if bus is None or bus.is_inherited:
        for other in list(_buses):
            if other.is_closed():
                _buses.pop(other, None)  # another thread may have been faster
        bus = _buses[loop] = _DefaultBus(**_options)
        bus.enter()
        for handle in _bound_at_import.copy():
            handle.serve(bus)
        _observe(bus)
    return bus


def existing_default_bus() -> Bus | None:
    """Return the default bus of the running event loop, if it has been used."""
    if _override is not None:
        return _override.bus
    return _buses.get(asyncio.get_running_loop())


@contextmanager
def override_default_bus(bus: Bus, *, successor: Callable[[], Bus] | None = None) -> Iterator[Bus]:
    """Let ``bus`` be the default bus, whatever loop asks for one, until this ends; for tests.

    What was bound at import time serves it meanwhile. It belongs to the loop that uses it first;
    another one that runs at the same time gets the bus's ``WrongLoopError``, and not a bus of
    which the test would know nothing. Overrides nest. The bus is not closed.

    Args:
        bus: the one to use.
        successor: makes the one to use when that is over, with its loop, say; without it the
            errors of a closed bus are raised.
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
        for bus in list(_buses.values()) if _override is None else [_override.bus]:
            if not bus.is_over:
                bus.call_in_loop(partial(came, bus))
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
    """``Bus.emit`` on the default bus; to be awaited."""
    bus = default_bus()
    if durable:
        return bus.emit(app_name, app_version, severity, verbosity, body, account_id, durable=True)
    return bus.emit(app_name, app_version, severity, verbosity, body, account_id)


def publish(event: Event) -> Coroutine[Any, Any, int]:
    """``Bus.publish`` on the default bus; to be awaited."""
    return default_bus().publish(event)


def emit_nowait(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
) -> int:
    """``Bus.emit_nowait`` on the default bus."""
    return default_bus().emit_nowait(app_name, app_version, severity, verbosity, body, account_id)


def emit_threadsafe(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
) -> concurrent.futures.Future[int]:
    """``Bus.emit_threadsafe`` on the default bus.

    A thread without a loop uses the one default bus whose loop runs.

    Raises:
        WrongLoopError: there is none, or more than one; then call the method of the one meant.
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
            for loop, bus in _buses.copy().items()
            if loop.is_running() and not bus.is_over  # in a fork the parent's seems to run
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


def emit_anywhere(
    app_name: str,
    app_version: str,
    severity: AnySeverity,
    verbosity: AnyVerbosity,
    body: Mapping[str, Any],
    account_id: str | None = None,
) -> bool:
    """``Bus.emit_anywhere`` on the default bus, found as by ``emit_threadsafe``."""
    return _bus_for_thread().emit_anywhere(
        app_name, app_version, severity, verbosity, body, account_id
    )


def publish_nowait(event: Event) -> int:
    """``Bus.publish_nowait`` on the default bus."""
    return default_bus().publish_nowait(event)


def publish_threadsafe(event: Event) -> concurrent.futures.Future[int]:
    """``Bus.publish_threadsafe`` on the default bus, found as by ``emit_threadsafe``."""
    return _bus_for_thread().publish_threadsafe(event)


def publish_anywhere(event: Event) -> bool:
    """``Bus.publish_anywhere`` on the default bus, found as by ``emit_threadsafe``."""
    return _bus_for_thread().publish_anywhere(event)


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
    """``Bus.subscribe`` on the default bus."""
    return default_bus().subscribe(
        *bindings, capacity=capacity, overflow=overflow, name=name, gaps=gaps, **wanted
    )


def bind(
    bindings: Binding | Iterable[Binding],
    callback: Callback,
    payload: Any = NO_PAYLOAD,
    **options: Unpack[BindOptions],
) -> AnyHandle:
    """``Bus.bind`` on the default bus; without a running loop, on that of each loop to come."""
    if is_loop_running():
        return default_bus().bind(bindings, callback, payload, **options)
    wanted = (bindings,) if isinstance(bindings, Binding) else tuple(bindings)
    for handle in _bound_at_import.copy():
        if handle.is_of(wanted, callback, payload):
            return handle
    Bus().bind(wanted, callback, payload, **options)  # a wrong argument is refused here and now
    handle = ImportTimeHandle(wanted, callback, payload, dict(options))
    _bound_at_import.append(handle)
    if _override is not None:
        _override.serve(handle)
    for loop, bus in _buses.copy().items():  # of other threads, or of a loop that pauses
        if not bus.is_over:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(handle.serve, bus)
    return handle


@overload
def on(callback: F, /) -> F: ...
@overload
def on(*bindings: Binding, **options: Unpack[OnOptions]) -> Callable[[F], F]: ...
def on(*bindings: Any, **options: Any) -> Any:
    """Decorate a callback: ``bind`` it, with the same options, and return it unchanged.

    The fields of one binding may be given as keywords, beside the options:
    ``@edr.on(app_name="billing", retries=2)``. Without a binding, with parentheses or without, it
    serves the default one.
    """
    return decorator(bind, bindings, options)
