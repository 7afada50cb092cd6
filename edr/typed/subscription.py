"""``subscribe``: events of some kinds, each with its body as a model.

The emitter may run an older or newer version, or another program. So a body that does not fit its
model raises no error in the consumer: it is counted and reported, and the next event is taken.

Example::

    import asyncio
    from typing import Literal
    import edr
    from edr.typed import Body, subscribe

    class AgentPaused(Body, app="acdc"):
        status: Literal["paused"] = "paused"
        agent_id: str

    async def main():
        faults = []
        tell = lambda fault, event: faults.append(fault.path)
        async with subscribe(AgentPaused, on_error=tell) as paused:
            await edr.emit("acdc", "1", "ok", "info", {"status": "paused"})
            await AgentPaused(agent_id="a1").emit()
            event, body = await anext(paused)
            assert (body.agent_id, faults, paused.invalid) == ("a1", ["agent_id"], 1)

    asyncio.run(main())
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar, Unpack, overload

from edr.bus import Bus, SubscribeOptions, Subscription, SubscriptionStatistics, default_bus
from edr.errors import InvalidEventError
from edr.records import Binding, Event
from edr.typed.body import Body

A = TypeVar("A", bound=Body)
B = TypeVar("B", bound=Body)
C = TypeVar("C", bound=Body)
D = TypeVar("D", bound=Body)
E = TypeVar("E", bound=Body)
F = TypeVar("F", bound=Body)

OnInvalid: TypeAlias = Callable[[InvalidEventError, Event], Any]
"""``on_error(fault, event)``: called with an event whose body does not fit its model."""

_log = logging.getLogger("edr.typed")


class TypedSubscription(Generic[B]):
    """An async iterator of (event, body). Made by ``subscribe``; closed as a ``Subscription``."""

    def __init__(
        self,
        models: tuple[type[B], ...],
        events: Subscription[Event],
        on_error: OnInvalid | None,
    ) -> None:
        self._models: list[tuple[Binding, type[B]]] = [(model.binding(), model) for model in models]
        self._events = events
        self._on_error = on_error
        self._invalid = 0

    def __repr__(self) -> str:
        names = ", ".join(model.__name__ for _, model in self._models)
        return f"<TypedSubscription of {names}: {self._events!r}>"

    @property
    def invalid(self) -> int:
        """Events of a kind whose body did not fit its model."""
        return self._invalid

    def statistics(self) -> SubscriptionStatistics:
        """Return the counts of this moment; invalid events count as delivered."""
        return self._events.statistics()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Event, B]:
        """Return the next event whose body fits, and that body.

        Cancellation: safe; a cancelled call has removed no event that fits.

        Raises:
            StopAsyncIteration, SubscriptionOverflowError: as ``Subscription.__anext__``.
            Exception: any exception of ``on_error``; the invalid event was taken.
        """
        while True:
            event = await anext(self._events)
            try:
                return event, self._read(event)
            except InvalidEventError as exc:
                self._invalid += 1
                if self._on_error is not None:
                    self._on_error(exc, event)
                elif self._invalid == 1:
                    self._tell(exc, event)

    def _read(self, event: Event) -> B:
        """Return the body as the first model whose kind it has and that it fits."""
        fault = InvalidEventError("must be of one of the subscribed kinds", "body")
        for binding, model in self._models:
            if binding.matches(event):
                try:
                    return model.of(event)
                except InvalidEventError as exc:
                    fault = exc
        raise fault

    def _tell(self, exc: InvalidEventError, event: Event) -> None:
        _log.warning(
            "the body of event %s of %s does not fit: %s; %s skipped it, and counts further ones",
            event.id,
            event.app_name,
            exc,
            self,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def shutdown(self) -> None:
        """As ``Subscription.shutdown``."""
        self._events.shutdown()

    async def aclose(self) -> None:
        """As ``Subscription.aclose``."""
        await self._events.aclose()


# mypy infers the common base for the types of *models, and pyright their union. With overloads
# both infer the union, of up to six models.


@overload
def subscribe(
    model: type[B],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[B]: ...
@overload
def subscribe(
    a: type[A],
    b: type[B],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[A | B]: ...
@overload
def subscribe(
    a: type[A],
    b: type[B],
    c: type[C],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[A | B | C]: ...
@overload
def subscribe(
    a: type[A],
    b: type[B],
    c: type[C],
    d: type[D],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[A | B | C | D]: ...
@overload
def subscribe(
    a: type[A],
    b: type[B],
    c: type[C],
    d: type[D],
    e: type[E],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[A | B | C | D | E]: ...
@overload
def subscribe(
    a: type[A],
    b: type[B],
    c: type[C],
    d: type[D],
    e: type[E],
    f: type[F],
    /,
    *,
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[A | B | C | D | E | F]: ...
@overload
def subscribe(
    *models: type[B],
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[B]: ...
def subscribe(
    *models: type[Body],
    bus: Bus | None = None,
    on_error: OnInvalid | None = None,
    **options: Unpack[SubscribeOptions],
) -> TypedSubscription[Any]:
    """Subscribe to the events of these kinds.

    Args:
        models: subclasses of ``Body``.
        bus: whose events; by default the default bus.
        on_error: ``on_error(fault, event)``, called in the iteration with an event whose body does
            not fit its model; ``fault.path`` is the field. Without it, the first one is logged.
        options: the options of ``Bus.subscribe``, without ``gaps``.

    Raises:
        TypeError: no model is given, or a model has no app.
    """
    if not models:
        raise TypeError("subscribe must get at least one model: edr.typed.subscribe(AgentPaused)")
    bindings = [model.binding() for model in models]
    events = (bus or default_bus()).subscribe(*bindings, **options)
    return TypedSubscription(models, events, on_error)
