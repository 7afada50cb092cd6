"""The pure part of edr: what an event is, what a binding wants, and who matches.

No event loop, no thread and no file is known here; everything is tested by plain calls.

Read the modules in this order; each imports only from those before it:
levels, body, traceparent, decoding, model, event, binding, trie, index.

Promises: an event never changes, and neither does its body; ``Binding.matches`` says what a
binding means, and every index agrees with it always.
"""

from edr.records.binding import (
    Binding,
    BindingFields,
    bindings_from_json,
    bindings_to_json,
    checked_bindings,
)
from edr.records.body import FrozenDict, check_size, frozen_dict, json_size, no_object, snapshot
from edr.records.event import Event, default_node
from edr.records.index import BindingIndex, Found, Place, SpotIndex, found_among, places_of
from edr.records.levels import AnySeverity, AnyVerbosity, Severity, Verbosity, why_no_level
from edr.records.traceparent import is_traceparent
from edr.records.trie import Branch, Change, Spot, SubscriptionTrie, bindings_at, spots_of

__all__ = [
    "AnySeverity",
    "AnyVerbosity",
    "Binding",
    "BindingFields",
    "BindingIndex",
    "Branch",
    "Change",
    "Event",
    "Found",
    "FrozenDict",
    "Place",
    "Severity",
    "Spot",
    "SpotIndex",
    "SubscriptionTrie",
    "Verbosity",
    "bindings_at",
    "bindings_from_json",
    "bindings_to_json",
    "check_size",
    "checked_bindings",
    "default_node",
    "found_among",
    "frozen_dict",
    "is_traceparent",
    "json_size",
    "no_object",
    "places_of",
    "snapshot",
    "spots_of",
    "why_no_level",
]
