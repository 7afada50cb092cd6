"""``Handle``: a bound callback. ``Handles``: all handles of a bus."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from types import BuiltinMethodType, MethodType
from typing import Any, Never, Protocol, TypedDict, TypeVar

from edr.bus.bounded_queue import BoundedQueue
from edr.bus.options import accepts, function, keywords
from edr.bus.overflow import AnyOverflow
from edr.bus.runner import NO_PAYLOAD, Callback, CallbackRunner, OnError
from edr.bus.statistics import SubscriptionStatistics
from edr.bus.tracing import Tracer
from edr.records import EVERY_EVENT, Binding, BindingFields, checked_bindings

F = TypeVar("F", bound=Callable[..., Any])


class Handle(Protocol):
    """A bound callback. Returned by ``bind``, within a loop or before one runs."""

    @property
    def name(self) -> str:
        """The name of its subscription."""
        ...

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its bindings."""
        ...

    @property
    def callback(self) -> Callback:
        """The bound callback."""
        ...

    @property
    def payload(self) -> Any:
        """The second argument of the callback, if it has one."""
        ...

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment, as a frozen snapshot. From any thread.

        ``delivered`` counts events that were passed to the callback, ``failed`` those on which it
        failed after its last retry. A callback that was bound before a loop ran serves the default
        bus of each loop: its counts are the sums over the buses that still exist.
        """
        ...

    def unbind(self) -> None:
        """End the binding now. Idempotent.

        Queued events are dropped, and counted as ``closed``. Running calls of the callback are
        cancelled, except for the call that unbinds. A callback that was bound before a loop ran is
        unbound from every bus; a bus whose loop runs in another thread follows soon.

        Raises:
            WrongLoopError: it was bound within a loop that runs in another thread; call this there.
        """
        ...


class BusHandle:
    """The handle of a callback that is bound to one bus; see ``Handle``."""

    __slots__ = ("__weakref__", "_bindings", "_runner")

    def __reduce__(self) -> Never:
        raise TypeError(f"{self!r} must not be copied or pickled; bind again")

    def __init__(self, bindings: tuple[Binding, ...], runner: CallbackRunner) -> None:
        self._bindings = bindings
        self._runner = runner

    def __repr__(self) -> str:
        return f"<Handle {self.name!r} of {self.callback!r}>"

    @property
    def name(self) -> str:
        """The name of its subscription."""
        return self._runner.name

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Its bindings."""
        return self._bindings

    @property
    def callback(self) -> Callback:
        """The bound callback."""
        return self._runner.callback

    @property
    def payload(self) -> Any:
        """The second argument of the callback, if it has one."""
        return self._runner.payload

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment."""
        return self._runner.statistics()

    def unbind(self) -> None:
        """Close the subscription of the callback."""
        self._runner.guard.check_thread("handle.unbind")
        self._runner.stop()


class Handles:
    """The bound callbacks of one bus."""

    def __init__(self) -> None:
        self._handles: dict[BoundedQueue, tuple[CallbackRunner, Hashable, BusHandle]] = {}
        self._alike: dict[Hashable, BusHandle] = {}
        self._tracer: Tracer | None = None

    def set_tracer(self, tracer: Tracer | None) -> None:
        """Run each callback, now and later ones too, in a span of ``tracer``; ``None``: without."""
        self._tracer = tracer
        for runner in self:
            runner.set_tracer(tracer)

    def __iter__(self) -> Iterator[CallbackRunner]:
        return iter([runner for runner, _, _ in list(self._handles.values())])

    def runner_of(self, queue: BoundedQueue) -> CallbackRunner | None:
        """Return the runner of the callback that takes from ``queue``, if there is one."""
        return self._handles.get(queue, (None,))[0]

    def find(
        self, bindings: tuple[Binding, ...], callback: Callback, payload: Any
    ) -> BusHandle | None:
        """Return the handle with these bindings, callback and payload, if there is one."""
        return self._alike.get(identity_of(bindings, callback, payload))

    def add(self, bindings: tuple[Binding, ...], runner: CallbackRunner) -> BusHandle:
        """Make, store and return the handle of ``runner``."""
        handle = BusHandle(bindings, runner)
        runner.set_tracer(self._tracer)
        key = identity_of(bindings, handle.callback, handle.payload)
        self._handles[runner.queue] = (runner, key, handle)
        self._alike[key] = handle
        return handle

    def remove(self, runner: CallbackRunner) -> None:
        """Remove ``runner`` and its handle, if they are stored."""
        _, key, handle = self._handles.pop(runner.queue, (None, None, None))
        if handle is not None and self._alike.get(key) is handle:
            del self._alike[key]


class SubscribeOptions(BindingFields, total=False):
    """Keywords of ``subscribe`` without ``gaps``: its options, and the fields of one binding."""

    name: str | None
    capacity: int
    overflow: AnyOverflow


class BindOptions(TypedDict, total=False):
    """The options of ``bind``."""

    name: str | None
    capacity: int
    overflow: AnyOverflow
    concurrency: int
    timeout: float | None
    retries: int
    backoff: float
    on_error: OnError | None


class OnOptions(BindOptions, BindingFields, total=False):
    """Keywords of ``on``: the options of ``bind``, and the fields of one binding."""

    payload: Any


def check_callback(callback: Callback, payload: Any) -> None:
    """Check that ``callback`` can be called with an event, and with the payload if one is bound.

    Raises:
        TypeError: it cannot be called, or not with these arguments.
    """
    function("a callback", callback)
    arguments = ("event",) if payload is NO_PAYLOAD else ("event", "payload")
    accepts("a callback", callback, *arguments)


def bindings_of(bindings: Iterable[Any], fields: BindingFields) -> tuple[Binding, ...]:
    """Return the given bindings and the one of ``fields``; without any, one for every event."""
    if fields:
        bindings = (*bindings, Binding(**fields))
    return checked_bindings(tuple(bindings) or (EVERY_EVENT,))


def decorator(bind: Callable[..., Any], bindings: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the result of ``on``: a decorator; without parentheses, the decorated callback."""
    if len(bindings) == 1 and not options and _is_decorated(bindings[0]):
        bind(EVERY_EVENT, bindings[0])
        return bindings[0]
    keywords("on", options, OnOptions.__annotations__)
    fields: Any = {name: options.pop(name) for name in Binding.model_fields if name in options}
    wanted = bindings_of(bindings, fields)

    def decorate(callback: F) -> F:
        bind(wanted, callback, **options)
        return callback

    return decorate


def _is_decorated(value: object) -> bool:
    return callable(value) and not isinstance(value, Binding)


def identity_of(bindings: tuple[Binding, ...], callback: Callback, payload: Any) -> Hashable:
    """Return a key that is equal only for the same bindings, callback and payload.

    Objects are compared by identity: two equal lists are two payloads, an object may change its
    hash, and no ``==`` of the program is called. Plain values cannot change, and are compared by
    value. The key is valid while callback and payload exist.
    """
    return (bindings, _identity_of_callback(callback), _identity_of_payload(payload))


def _identity_of_callback(callback: Callback) -> Hashable:
    if isinstance(callback, MethodType):  # another object each time it is looked up
        return id(callback.__self__), id(callback.__func__)
    if isinstance(callback, BuiltinMethodType):
        return id(callback.__self__), callback.__name__
    return id(callback)


def _identity_of_payload(payload: Any) -> Hashable:
    if payload is None or type(payload) in _PLAIN:
        return type(payload), payload
    return id(payload)


_PLAIN = (str, bytes, int, float, bool)
