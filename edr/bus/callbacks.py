"""``Handle``: what ``bind`` returns. ``Handles``: those of a bus, found by what was bound."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from types import BuiltinMethodType, MethodType
from typing import Any, Never, Protocol, TypedDict, TypeVar

from edr.bus.options import accepts, function, keywords
from edr.bus.overflow import AnyOverflow
from edr.bus.runner import NO_PAYLOAD, Callback, CallbackRunner, OnError
from edr.bus.statistics import SubscriptionStatistics
from edr.records import EVERY_EVENT, Binding, BindingFields, checked_bindings

F = TypeVar("F", bound=Callable[..., Any])


class AnyHandle(Protocol):
    """What any ``bind`` returns, before a loop runs or within one."""

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What was bound."""
        ...

    @property
    def callback(self) -> Callback:
        """What is called."""
        ...

    @property
    def payload(self) -> Any:
        """Its second argument, if it has one."""
        ...

    def unbind(self) -> None:
        """End the binding now. Idempotent."""
        ...


class Handle:
    """One bound callback. Returned by ``bind``; ``unbind`` ends it."""

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
        """What was bound."""
        return self._bindings

    @property
    def callback(self) -> Callback:
        """What is called."""
        return self._runner.callback

    @property
    def payload(self) -> Any:
        """Its second argument, if it has one."""
        return self._runner.payload

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment, as a frozen snapshot. From any thread.

        Delivered means handed to the callback; ``failed`` counts those on which it failed.
        """
        return self._runner.statistics()

    def unbind(self) -> None:
        """End the binding now. Idempotent.

        Events still queued are dropped, and counted as ``closed``; the call in progress is
        cancelled, unless it is the one that unbinds.

        Raises:
            WrongLoopError: the bus runs in another thread; call this there.
        """
        self._runner.guard.check_thread("handle.unbind")
        self._runner.stop()


class Handles:
    """The bound callbacks of one bus."""

    def __init__(self) -> None:
        self._handles: dict[CallbackRunner, tuple[Hashable, Handle]] = {}
        self._alike: dict[Hashable, Handle] = {}

    def __iter__(self) -> Iterator[CallbackRunner]:
        return iter(list(self._handles))

    def find(
        self, bindings: tuple[Binding, ...], callback: Callback, payload: Any
    ) -> Handle | None:
        """Return the handle that was bound with just these."""
        return self._alike.get(identity_of(bindings, callback, payload))

    def add(self, bindings: tuple[Binding, ...], runner: CallbackRunner) -> Handle:
        """Make the handle of ``runner``, and keep both."""
        handle = Handle(bindings, runner)
        key = identity_of(bindings, handle.callback, handle.payload)
        self._handles[runner] = (key, handle)
        self._alike[key] = handle
        return handle

    def remove(self, runner: CallbackRunner) -> None:
        """Forget ``runner`` and its handle; what is not there changes nothing."""
        key, handle = self._handles.pop(runner, (None, None))
        if handle is not None and self._alike.get(key) is handle:
            del self._alike[key]


class SubscribeOptions(BindingFields, total=False):
    """What ``subscribe`` takes beside ``gaps``: its options, and the fields of one binding."""

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
    """What ``on`` takes: the options of ``bind``, and the fields of one binding."""

    payload: Any


def check_callback(callback: Callback, payload: Any) -> None:
    """Check that ``callback`` can be called with an event, and the payload if there is one.

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
    """Return what ``on`` returns: a decorator, or what it was written on without parentheses."""
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
    """Return the key of what was bound: the same for one callback and one payload only.

    Two lists that are equal now are two payloads, and an object may change its hash while it is
    bound; so objects are told apart by identity, and no ``==`` of the program is called. Plain
    values, which cannot change, are told apart by value. What is bound must live as long as the
    key is used.
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
