"""``Recorder``: records every event of a bus, for assertions in tests.

A recorder is a tap, not a subscription. It gets each event within the call that emits it, at any
level and for any account. So an assertion does not wait for delivery, and the recorder changes
neither the statistics nor the result of ``emit``. It keeps all events.

A failing assertion shows the nearest events and, for each, why it does not match, in the words of
``Binding.explain``.

Example::

    import asyncio
    import edr
    from edr.testing import capture

    async def main():
        async with edr.Bus() as bus:
            with capture(bus) as captured:
                await bus.emit("acdc", "1", "ok", "info", {"status": "paused"})
        captured.assert_emitted(app_name="acdc", body={"status": ["paused"]}, times=1)
        captured.assert_not_emitted(severity="warning")

    asyncio.run(main())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edr.records import Binding, Event

NEAREST = 3
"""Number of near misses that a failing assertion shows. More would hide the relevant ones."""

LONGEST_BODY = 200
"""Characters of a body that are shown."""


class Recorder:
    """The events of a bus since it was attached, in the order in which they were emitted.

    Made by ``capture``; a ``RecordingBus`` has one. It may be read from any thread.
    """

    credit = 0
    number = 0

    def __init__(self) -> None:
        self._events: list[Event] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self._events)} event(s)>"

    def offer(self, event: Event) -> bool:
        """Record ``event``. The bus calls this."""
        self._events.append(event)
        return False

    offer_nowait = offer

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far."""
        return tuple(self._events)

    def clear(self) -> None:
        """Forget all events so far."""
        self._events.clear()

    def assert_emitted(
        self, binding: Binding | None = None, *, times: int | None = None, **fields: Any
    ) -> list[Event]:
        """Check that matching events were emitted, and return them.

        Args:
            binding: the binding that they must match, or its fields as keywords:
                ``assert_emitted(app_name="acdc", body={"status": ["paused"]})``.
                By fields events of every verbosity match, down to trace, unless one is named.
            times: how many; by default one or more.
            fields: those of a ``Binding``.

        Raises:
            AssertionError: there are more, fewer or none; the message shows which came nearest.
            InvalidBindingError: a field is unknown or wrong.
        """
        __tracebackhide__ = True
        wanted, text = _binding(binding, fields)
        matching = [event for event in self._events if wanted.matches(event)]
        if len(matching) == times or (times is None and matching):
            return matching
        raise AssertionError(self._fault(wanted, text, matching, times))

    def assert_not_emitted(self, binding: Binding | None = None, **fields: Any) -> None:
        """Check that no event was emitted that matches; the arguments are ``assert_emitted``'s.

        Raises:
            AssertionError: there is one; the message shows it.
            InvalidBindingError: a field is unknown or wrong.
        """
        __tracebackhide__ = True
        self.assert_emitted(binding, times=0, **fields)

    def _fault(
        self, wanted: Binding, text: str, matching: Sequence[Event], times: int | None
    ) -> str:
        number = "1 or more" if times is None else times
        lines = [
            f"{len(matching)} event(s) match {text}, wanted {number}; {len(self._events)} emitted."
        ]
        if len(matching) > (times or 0):
            lines[0] += " They are:"
            lines += [f"  {_line(event)}" for event in matching[: NEAREST + (times or 0)]]
            return "\n".join(lines)
        others = [event for event in self._events if not wanted.matches(event)]
        if others:
            lines[0] += " Nearest:"
        reasons = [(wanted.explain(event), event) for event in others]
        reasons.sort(key=lambda each: len(each[0]))  # stable: the earlier one first
        for mismatches, event in reasons[:NEAREST]:
            lines.append(f"  {_line(event)}")
            lines += [f"      {mismatch}" for mismatch in mismatches]
        return "\n".join(lines)


def _binding(binding: Binding | None, fields: dict[str, Any]) -> tuple[Binding, str]:
    """Return what is wanted, and how to write it: with what was said, and no more."""
    if binding is None:
        text = Binding(**fields).model_dump_json(exclude_unset=True)
        return Binding(**{"verbosity": "trace", **fields}), text
    if fields:
        raise TypeError("give a binding, or its fields by name; not both")
    return binding, binding.model_dump_json(exclude_unset=True)


def _line(event: Event) -> str:
    body = repr(event.body)
    if len(body) > LONGEST_BODY:
        body = f"{body[:LONGEST_BODY]}… ({len(body)} characters)"
    account = "" if event.account_id is None else f" of {event.account_id}"
    return f"{event.severity} {event.verbosity} {event.app_name}{account} {body}"
