"""The table of all measures: their names, kinds, units, meanings and labels.

Each metrics system makes its names from it: ``edr_sink_backlog`` and ``edr.sink.backlog``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge"]

Reading: TypeAlias = Iterator[tuple[str, tuple[str, ...], float]]
"""The name of a measure, the values of its labels but for the bus, and what was measured."""

Definition: TypeAlias = tuple[str, Kind, str, str, tuple[str, ...]]
"""Name, kind, unit, help, and labels in addition to ``bus``."""


def _of_each(group: str, *rows: tuple[str, Kind, str, str]) -> list[Definition]:
    return [(f"{group}_{name}", kind, unit, text, (group,)) for name, kind, unit, text in rows]


DEFINITIONS: tuple[Definition, ...] = (
    ("emits", "counter", "events", "Events accepted, with or without subscribers.", ()),
    ("unmatched", "counter", "events", "Accepted events that nothing matched.", ()),
    ("offered", "counter", "events", "Events that reached a subscription, once for each.", ()),
    ("delivered", "counter", "events", "Events that subscribers took.", ()),
    ("pending", "gauge", "events", "Events queued, and those whose emit waits for room.", ()),
    ("stalled", "gauge", "subscriptions", "Subscriptions that emitters no longer wait for.", ()),
    ("subscriptions", "gauge", "subscriptions", "Subscriptions and bound callbacks.", ()),
    ("callback_errors", "counter", "events", "Events on which a callback failed.", ()),
    ("refused", "counter", "events", "Events that a full inbox or a drain refused.", ()),
    ("account_failures", "counter", "events", "Events whose account look-up failed.", ()),
    ("tap_errors", "counter", "events", "Events for which a tap raised an exception.", ()),
    ("dropped", "counter", "events", "Events lost.", ("reason",)),
    *_of_each(
        "subscription",
        ("offered", "counter", "events", "Events that reached it."),
        ("delivered", "counter", "events", "Events that it took."),
        ("failed", "counter", "events", "Delivered events on which the callback failed."),
        ("retried", "counter", "events", "Further calls of the callback after a failure."),
        ("pending", "gauge", "events", "Events queued, and those that wait for room."),
        ("in_flight", "gauge", "events", "Events in the hands of the callback."),
        ("stalled", "gauge", "subscriptions", "Whether emitters no longer wait for it."),
        ("oldest_age", "gauge", "seconds", "Seconds since its oldest pending event."),
    ),
    ("subscription_dropped", "counter", "events", "Events it lost.", ("subscription", "reason")),
    ("journal_appended", "counter", "events", "Events stored.", ()),
    ("journal_waiting", "gauge", "events", "Events accepted, and not stored yet.", ()),
    ("journal_failed", "counter", "events", "Events that could not be stored.", ()),
    ("journal_lost", "counter", "events", "Entries that retention removed.", ()),
    ("journal_corrupt", "counter", "events", "Entries that damage made unreadable.", ()),
    ("journal_bytes", "gauge", "bytes", "Size of the stored entries.", ()),
    ("journal_last_position", "gauge", "positions", "Position of the newest entry.", ()),
    ("journal_error", "gauge", "errors", "1 while nothing can be stored, else 0.", ()),
    ("consumer_lag", "gauge", "events", "Entries that it has not acknowledged.", ("consumer",)),
    ("consumer_unacked", "gauge", "events", "Entries delivered, not yet acked.", ("consumer",)),
    ("consumer_missed", "counter", "events", "Entries that it lost.", ("consumer",)),
    *_of_each(
        "link",
        ("up", "gauge", "connections", "1 while it is connected, else 0."),
        ("offered", "counter", "events", "Events that it had to send."),
        ("sent", "counter", "events", "Events that the broker has."),
        ("uncertain", "counter", "events", "Events under way when a connection was lost."),
        ("pending", "gauge", "events", "Events to be sent, or to be confirmed."),
        ("skipped", "counter", "events", "Journalled events of other nodes, not sent back."),
        ("received", "counter", "events", "Messages that came from the broker."),
        ("delivered", "counter", "events", "Events received and published here."),
        ("duplicates", "counter", "events", "Events received that had been here before."),
        ("reconnects", "counter", "connections", "Connections after the first one."),
    ),
    ("link_dropped", "counter", "events", "Events that it did not send.", ("link", "reason")),
    ("link_refused", "counter", "events", "Messages not published.", ("link", "reason")),
    *_of_each(
        "sink",
        ("delivered", "counter", "events", "Events that it delivered."),
        ("retried", "counter", "attempts", "Attempts that failed and were made again."),
        ("rejected", "counter", "events", "Events that became dead letters."),
        ("missed", "counter", "events", "Events lost before it took them."),
        ("backlog", "gauge", "events", "Events that wait for delivery."),
        ("oldest", "gauge", "seconds", "Age of its oldest held event."),
    ),
    ("sink_state", "gauge", "sinks", "1 for its present state, else 0.", ("sink", "state")),
    *_of_each(
        "source",
        ("accepted", "counter", "events", "Events that the journal has stored."),
        ("refused", "counter", "events", "Lines that are not valid events."),
        ("missed", "counter", "events", "Events of a stream that were lost before it read them."),
        ("failed", "counter", "calls", "Connections and calls that a fault ended."),
        ("connections", "gauge", "connections", "Open connections."),
    ),
    *_of_each(
        "gateway",
        ("clients", "gauge", "clients", "Clients whose streams run."),
        ("groups", "gauge", "groups", "Groups of clients with the same bindings and grant."),
        ("sent", "counter", "events", "Events that clients were sent."),
        ("missed", "counter", "events", "Events that clients were told to have missed."),
        ("withheld", "counter", "events", "Events that match and that the grant does not show."),
    ),
    ("gateway_closed", "counter", "streams", "Ended streams.", ("gateway", "reason")),
)
