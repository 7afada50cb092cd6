"""``Part``: a component of a process without a subscription, such as a sink, a source or a link.

``expose(parts=…)`` shows parts in ``top``, ``statistics``, ``explain`` and ``bindings``. Services
of the bus that are parts, such as links, are shown without being given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from edr.bus import Bus, RateLimitedLog
from edr.control.plain import plain, text
from edr.records import Binding


class Part(Protocol):
    """A component that takes or brings events. It may be of any class.

    A part may have ``async def rebind(self, *bindings)``; then the request ``bindings`` can replace
    its bindings, where ``allow`` has ``"bindings"``. It may have ``async def pause(self)``,
    ``resume`` and ``restart``, for the request ``sink``, where ``allow`` has ``"sinks"``. A part
    may have ``services``, those of the bus that it consists of. They are not shown next to it.
    """

    @property
    def name(self) -> str:
        """Its name, unique among the parts of its kind."""
        ...

    @property
    def kind(self) -> str:
        """Its kind: ``"sink"``, ``"source"``, ``"link"``, or another word."""
        ...

    @property
    def bindings(self) -> Sequence[Binding]:
        """The events that it takes; none for a source."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return its state and counts, in the loop and without waiting.

        ``edr top`` shows the keys ``state`` (text), ``offered`` and ``delivered`` (events so far),
        ``backlog`` (events that wait), ``oldest_age`` (seconds), ``lost`` (reason -> events) and
        ``error`` (text; ``None`` if it works at this moment). Other keys are sent too.
        """
        ...


Parts: TypeAlias = Iterable[Part] | Callable[[], Iterable[Part]]
"""The parts of a process: a collection, or a function that returns those of this moment."""


class PartList:
    """The parts that were given, and those among the services of the bus.

    Args:
        bus: has the services.
        parts: the given parts.
        log: logs the faults of parts.
    """

    def __init__(self, bus: Bus, parts: Parts | None, log: RateLimitedLog) -> None:
        self._bus = bus
        self._parts = parts
        self._log = log

    def __iter__(self) -> Iterator[Part]:
        given = () if self._parts is None else self._parts
        try:
            each: list[Any] = list(given() if callable(given) else given)
        except Exception as exc:  # the function of the program must not end the request
            self._failed("the parts", exc)
            each = []
        known = {id(inner) for part in each for inner in (part, *getattr(part, "services", ()))}
        each += [part for part in self._bus.services if is_part(part) and id(part) not in known]
        return iter(each)

    def find(self, name: str) -> Part | None:
        """Return the part ``name`` or ``KIND NAME``."""
        for part in self:
            if name in (part.name, f"{part.kind} {part.name}"):
                return part
        return None

    def describe(self, part: Part) -> dict[str, Any]:
        """Return the name, the kind and the status of ``part``."""
        try:
            status = plain(dict(part.status()))
        except Exception as exc:  # as above
            self._failed(f"part {part.name!r}", exc)
            status = {"state": "unknown", "error": text(f"{type(exc).__name__}: {exc}")}
        return {**status, "name": text(part.name), "kind": text(part.kind)}

    def _failed(self, subject: str, exc: Exception) -> None:
        self._log.log(
            logging.ERROR, f"control {subject}", "%s raised in status: %r", subject, exc, exc=exc
        )


def is_part(value: object) -> bool:
    """Return whether ``value`` has the attributes of a part."""
    return all(hasattr(value, name) for name in ("name", "kind", "bindings", "status"))
