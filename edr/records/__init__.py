"""The pure part of edr: what an event is, what a binding wants, and who matches.

No event loop, no thread and no file is known here; everything is tested by plain calls.

Read the modules in this order; each imports only from those before it:
levels, body, traceparent, fields_set, decoding, model, event, binding, trie, index.

Promises: an event never changes, and neither does its body; ``Binding.matches`` says what a
binding means, and every index agrees with it always.
"""

from edr._util.lazy import show_in_facade
from edr.records.binding import (
    EVERY_EVENT,
    Binding,
    BindingFields,
    bindings_from_json,
    bindings_to_json,
    checked_bindings,
    explain,
)
from edr.records.body import FrozenDict, check_size, frozen_dict, json_size, no_object, snapshot
from edr.records.event import Event, completed_event, default_node, with_account_tree
from edr.records.fields_set import FIELDS_SET
from edr.records.index import BindingIndex, Found, IndexKey, KeyIndex, found_among, index_keys
from edr.records.levels import AnySeverity, AnyVerbosity, Severity, Verbosity, why_no_level
from edr.records.traceparent import is_traceparent
from edr.records.trie import (
    Branch,
    Change,
    SubscriptionTrie,
    TrieKey,
    bindings_from_keys,
    trie_keys,
)

__all__ = [
    "EVERY_EVENT",
    "FIELDS_SET",
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
    "IndexKey",
    "KeyIndex",
    "Severity",
    "SubscriptionTrie",
    "TrieKey",
    "Verbosity",
    "bindings_from_json",
    "bindings_from_keys",
    "bindings_to_json",
    "check_size",
    "checked_bindings",
    "completed_event",
    "default_node",
    "explain",
    "found_among",
    "frozen_dict",
    "index_keys",
    "is_traceparent",
    "json_size",
    "no_object",
    "snapshot",
    "trie_keys",
    "why_no_level",
    "with_account_tree",
]

show_in_facade(__name__)
