"""``Recording``: what the journal of a bus stores, as the union of what the parts need.

A part that is bound to further events must not miss an event that is emitted during the change. So
the journal is widened first, and narrowed after the part has the new bindings.
"""

from __future__ import annotations

from collections.abc import Sequence

from edr.bus import Bus
from edr.records import Binding


class Recording:
    """The bindings of each part that reads the journal of ``bus``. ``Bus.record`` gets the union.

    Parts are named, such as ``sink:audit``. A bus without parts stores the events that
    its journal was made for.

    Args:
        bus: has a journal.
        wanted: whether the bindings count as interest, so that links request these events.
    """

    def __init__(self, bus: Bus, *, wanted: bool = True) -> None:
        self._bus = bus
        self._wanted = wanted
        self._needed: dict[str, tuple[Binding, ...]] = {}

    def __getitem__(self, part: str) -> tuple[Binding, ...]:
        """Return the bindings of ``part``; none if it is not known."""
        return self._needed.get(part, ())

    def widen(self, part: str, bindings: Sequence[Binding]) -> None:
        """Store what ``part`` needs now, and what it needs with ``bindings``."""
        self._set(part, tuple(dict.fromkeys((*self[part], *bindings))))

    def replace(self, part: str, bindings: Sequence[Binding]) -> None:
        """Store what ``part`` needs with ``bindings``, and nothing else for it."""
        self._set(part, tuple(bindings))

    def remove(self, part: str) -> None:
        """Store nothing for ``part``."""
        if self._needed.pop(part, None) is not None:
            self._apply()

    def _set(self, part: str, bindings: tuple[Binding, ...]) -> None:
        if self._needed.get(part) != bindings:
            self._needed[part] = bindings
            self._apply()

    def _apply(self) -> None:
        union = dict.fromkeys(each for bindings in self._needed.values() for each in bindings)
        if union:
            self._bus.record(*union, wanted=self._wanted)
