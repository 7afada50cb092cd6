"""``Handlers``: what each request does. It checks the request, and returns its coroutine.

A request that changes something needs the permission of ``expose(allow=…)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from edr.bus import Bus
from edr.control.connection import Answer, Answers, Message, RequestError
from edr.control.fields import Fields
from edr.control.listing import Listing
from edr.control.loop_lag import INTERVAL, LoopLag
from edr.control.parts import Part, PartList
from edr.control.plain import plain, text
from edr.control.recorded import Recorded
from edr.control.snapshot import Snapshots
from edr.control.tail import Tail
from edr.errors import (
    BodyTooLargeError,
    BusClosedError,
    InvalidEventError,
    WrongLoopError,
    did_you_mean,
    shown,
)
from edr.patterns import Limits
from edr.records import Binding, Event
from edr.streams import Streams, parse_cursor

PERMISSIONS = ("bindings", "emit", "reload", "sinks")
"""The values of ``allow``."""

MAX_SUBSCRIPTIONS = 500
"""Subscriptions in an answer to ``top``. A terminal shows tens."""

DEFAULT_SUBSCRIPTIONS = 200

EVERY = (0.2, 3600.0)
"""Seconds between two messages of ``top``. A snapshot takes about 5 ms of a large bus."""

MAX_LAST = 100_000
MAX_EXPLAINED_EVENTS = 20
MAX_EXPLAINED_BYTES = 8 * 2**20

HISTORY_OFF = (
    "the process keeps no earlier events; expose(history=…) does, and so does a bus with a journal"
)

Reload = Callable[[], Awaitable[object]]


class Handlers:
    """The requests of one exposed bus.

    Args:
        bus: the bus.
        streams: gives the events to observers.
        parts: the parts.
        snapshots: reads the state.
        allow: the permitted changes.
        history: the events that are kept; 0 for none.
        reload: reads the configuration again, for the request ``reload``.
    """

    def __init__(
        self,
        bus: Bus,
        streams: Streams,
        parts: PartList,
        snapshots: Snapshots,
        *,
        allow: Collection[str],
        history: int,
        reload: Reload | None,
    ) -> None:
        self._bus = bus
        self._streams = streams
        self._parts = parts
        self._snapshots = snapshots
        self._listing = Listing(bus, parts, snapshots)
        self._recorded = Recorded(bus)
        self._allow = frozenset(allow)
        self._history = history
        self._reload = reload
        self._requests: dict[str, tuple[str | None, Callable[[Message], Answer]]] = {
            "tail": (None, self._tail),
            "top": (None, self._top),
            "explain": (None, self._explain),
            "statistics": (None, self._statistics),
            "bindings": (None, self._bindings),
            "consumers": (None, self._consumers),
            "emit": ("emit", self._emit),
            "set_bindings": ("bindings", self._set_bindings),
            "sink": ("sinks", self._sink),
            "forget": ("sinks", self._forget),
            "reload": ("reload", self._reload_request),
        }
        """Name -> the permission that it needs, and its check."""

    @property
    def can(self) -> list[str]:
        """The requests that a client may make."""
        return [
            name
            for name, (permission, _) in self._requests.items()
            if permission is None or permission in self._allow
        ]

    def start(self, request: Message) -> Answer:
        """Check a request, and return its answer.

        Raises:
            RequestError: it is not valid or not permitted.
        """
        do = request.get("do")
        if not isinstance(do, str) or do not in self._requests:
            known = did_you_mean(do, self._requests) if isinstance(do, str) else ""
            raise RequestError("unknown_request", f"there is no such request{known}", "do")
        permission, handler = self._requests[do]
        if permission is not None and permission not in self._allow:
            raise RequestError(
                "not_allowed",
                f"the process does not permit it; expose(allow={{{permission!r}}}) does",
                "do",
            )
        return handler(request)

    # Observe

    def _tail(self, request: Message) -> Answer:
        fields = Fields(request, "bindings", "after", "last", "wanted", "follow")
        bindings = fields.bindings()
        after = fields.text("after")
        last = fields.number("last", None, 0, MAX_LAST)
        follow = fields.flag("follow", default=True)
        if after is not None and last is not None:
            raise RequestError("invalid_request", "after and last exclude each other", "last")
        if after is not None and parse_cursor(after) is None:
            raise RequestError("invalid_request", "must be the cursor of an event", "after")
        wanted = fields.flag("wanted")
        if self._is_recorded(after, last) and not wanted:
            tail = partial(self._recorded.tail, bindings, after=after, last=last, follow=follow)
            return partial(_noted, "journal", self._recorded.note(bindings), tail)
        note = None
        if last and not self._history:
            note = HISTORY_OFF
            if self._recorded.is_available:
                note = "last and wanted exclude each other: a journal has the events of last"
            if not follow:
                raise RequestError("history_off", note, "last")
            last = None
        live = Tail(self._streams, bindings, after=after, last=last, wanted=wanted, follow=follow)
        return partial(_noted, "history_off", note, live)

    def _is_recorded(self, after: str | None, last: int | None) -> bool:
        """Return whether the journal has the earlier events of a request."""
        if after is not None:
            return self._recorded.has(after)
        return bool(last) and not self._history and self._recorded.is_available

    def _top(self, request: Message) -> Answer:
        fields = Fields(request, "every", "limit")
        every = fields.seconds("every", 1.0, *EVERY)
        limit = fields.number("limit", DEFAULT_SUBSCRIPTIONS, 0, MAX_SUBSCRIPTIONS)
        assert limit is not None
        return partial(self._run_top, every, limit)

    async def _run_top(self, every: float, limit: int, answers: Answers) -> None:
        loop = asyncio.get_running_loop()
        with LoopLag() as lag:
            while True:
                due = loop.time() + every
                state = await self._snapshots.read(limit)
                await answers.send("top", {**state, "loop_lag": round(lag.take(), 6)})
                await asyncio.sleep(max(0.0, due - loop.time()))

    def _statistics(self, request: Message) -> Answer:
        fields = Fields(request, "limit")
        limit = fields.number("limit", DEFAULT_SUBSCRIPTIONS, 0, MAX_SUBSCRIPTIONS)
        assert limit is not None
        return partial(self._run_statistics, limit)

    async def _run_statistics(self, limit: int, answers: Answers) -> None:
        with LoopLag() as lag:
            await asyncio.sleep(INTERVAL)
            state = await self._snapshots.read(limit)
            await answers.send("statistics", {**state, "loop_lag": round(lag.take(), 6)})

    def _explain(self, request: Message) -> Answer:
        fields = Fields(request, "event", "last", "bindings")
        document = fields.object("event")
        last = fields.number("last", None, 1, MAX_EXPLAINED_EVENTS)
        bindings = fields.bindings()
        if (document is None) == (last is None):
            raise RequestError("invalid_request", "give either event or last", "event")
        if document is not None:
            return partial(self._run_explain, [self._event(document)])
        assert last is not None
        if self._is_recorded(None, last):
            return partial(self._run_explain_recorded, last, bindings)
        if not self._history:
            raise RequestError("history_off", HISTORY_OFF, "last")
        return partial(self._run_explain_last, last, bindings)

    async def _run_explain(self, events: list[Event], answers: Answers) -> None:
        for event in events:
            await self._listing.explain(event, answers)

    async def _run_explain_last(
        self, last: int, bindings: tuple[Binding, ...], answers: Answers
    ) -> None:
        ready = asyncio.Event()
        try:
            place = self._streams.join(*bindings, on_ready=ready.set, last=last)
        except BusClosedError as exc:
            raise RequestError("bus_closed", str(exc)) from None
        try:
            while place.filling:
                ready.clear()  # it is also set when the stream ends
                place.take(last)  # or it is not called back
                await ready.wait()
            events = [record.event for record in place.take(last, MAX_EXPLAINED_BYTES).records]
        finally:
            self._streams.leave(place)
        if not events:
            raise RequestError("not_found", "no event of the history matches", "bindings")
        await self._run_explain(events, answers)

    async def _run_explain_recorded(
        self, last: int, bindings: tuple[Binding, ...], answers: Answers
    ) -> None:
        events = await self._recorded.newest(bindings, last)
        if not events:
            raise RequestError("not_found", "no event of the journal matches", "bindings")
        await self._run_explain(events, answers)

    def _event(self, document: Message) -> Event:
        """Return the event of a request. Fields that the bus would set have defaults."""
        try:
            return Event.model_validate({"node": self._bus.node, **document})
        except InvalidEventError as exc:
            path = exc.path if exc.path.startswith("[") else f".{exc.path}" if exc.path else ""
            raise RequestError("invalid_event", exc.reason, f"event{path}") from None

    def _bindings(self, request: Message) -> Answer:
        Fields(request)
        return self._listing.bindings

    # Change

    def _set_bindings(self, request: Message) -> Answer:
        fields = Fields(request, "part", "bindings")
        bindings = fields.bindings(limits=Limits())
        if not bindings:
            raise RequestError("invalid_request", "the field is required", "bindings")
        part = self._part(fields)
        rebind = _method(part, "rebind")
        return partial(_run, lambda: rebind(*bindings))

    def _sink(self, request: Message) -> Answer:
        fields = Fields(request, "part", "action")
        part = self._part(fields)
        action = fields.required_text("action")
        if action not in ("pause", "resume", "restart"):
            raise RequestError("invalid_request", "must be pause, resume or restart", "action")
        return partial(_run, _method(part, action))

    def _part(self, fields: Fields) -> Part:
        name = fields.required_text("part")
        part = self._parts.find(name)
        if part is None:
            names = [each.name for each in self._parts]
            raise RequestError(
                "not_found", f"there is no part {shown(name)}{did_you_mean(name, names)}", "part"
            )
        return part

    def _reload_request(self, request: Message) -> Answer:
        Fields(request)
        assert self._reload is not None  # `expose` requires it for this permission
        return partial(_run, self._reload)

    def _emit(self, request: Message) -> Answer:
        fields = Fields(request, "event", "durable")
        document = fields.object("event")
        if document is None:
            raise RequestError("invalid_request", "the field is required", "event")
        event = self._event(document)
        durable = fields.flag("durable")
        if durable and self._bus.journal is None:
            raise RequestError("no_journal", "a durable emit needs a journal", "durable")
        return partial(self._run_emit, event, durable)

    async def _run_emit(self, event: Event, durable: bool, answers: Answers) -> None:  # noqa: FBT001
        try:
            matched = await self._bus.publish(event, durable=durable, resolve=True)
        except BodyTooLargeError as exc:
            raise RequestError("body_too_large", exc.reason, "event.body") from None
        except (BusClosedError, WrongLoopError) as exc:
            raise RequestError("bus_closed", str(exc)) from None
        answer = {"event_id": event.id, "matched": matched}
        if self._bus.journal is not None:
            bindings = self._bus.journal.bindings
            answer["journal"] = durable or any(each.matches(event) for each in bindings)
        await answers.send("emitted", answer)

    # Journal

    def _consumers(self, request: Message) -> Answer:
        Fields(request)
        self._journal()
        return self._run_consumers

    async def _run_consumers(self, answers: Answers) -> None:
        await answers.send("consumers", await self._snapshots.listed_consumers())

    def _forget(self, request: Message) -> Answer:
        name = Fields(request, "consumer").required_text("consumer")
        journal = self._journal()
        return partial(self._run_forget, journal, name)

    async def _run_forget(self, journal: Any, name: str, answers: Answers) -> None:
        statuses = {status.name: status for status in await self._snapshots.consumers()}
        if name not in statuses:
            raise RequestError(
                "not_found", f"there is no such consumer{did_you_mean(name, statuses)}", "consumer"
            )
        if statuses[name].open:
            raise RequestError("in_use", "the consumer is open; close it first", "consumer")
        await _run(lambda: journal.forget(name), answers)

    def _journal(self) -> Any:
        journal = self._bus.journal
        if journal is None:
            raise RequestError("no_journal", "the bus has no journal")
        if not hasattr(journal, "consumers"):
            raise RequestError("not_supported", "the journal has no named consumers")
        return journal


async def _noted(code: str, note: str | None, tail: Answer, answers: Answers) -> None:
    """Send a note before the events of a tail."""
    if note is not None:
        await answers.send("note", {"code": code, "detail": note})
    await tail(answers)


async def _run(change: Callable[[], Awaitable[object]], answers: Answers) -> None:
    """Make a change, and end with its result if it has one."""
    try:
        result = await change()
    except Exception as exc:  # of the program; the operator reads it
        raise RequestError("failed", text(str(exc) or repr(exc))) from exc
    if result is not None:
        answers.end = {"result": plain(result)}


def _method(part: Part, name: str) -> Callable[..., Awaitable[object]]:
    method: Callable[..., Awaitable[object]] | None = getattr(part, name, None)
    if method is None:
        raise RequestError("not_supported", f"{part.kind} {part.name!r} cannot {name}", "part")
    return method
