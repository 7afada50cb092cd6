"""Body patterns: conditions on the body of an event.

Read the modules in this order; each imports only from those before it:
limits, addresses, scalar_set, arrays, field_matcher, object_pattern, objects, cost, operands,
suggestions, parser, pattern_warnings, language, schema, tables, wildcards, ranges, postings, nodes,
plan, index.

``Pattern`` is one pattern, with the reference implementation of a match. ``PatternIndex`` finds the
patterns that a body matches, among any number of them.
"""

from edr._util.lazy import show_in_facade
from edr.patterns.field_matcher import ABSENT
from edr.patterns.index import PatternIndex
from edr.patterns.language import Mismatch, Pattern
from edr.patterns.limits import DEFAULT_LIMITS, Limits
from edr.patterns.pattern_warnings import PatternWarning, warn_of_mistakes
from edr.patterns.schema import pattern_json_schema

__all__ = [
    "ABSENT",
    "DEFAULT_LIMITS",
    "Limits",
    "Mismatch",
    "Pattern",
    "PatternIndex",
    "PatternWarning",
    "pattern_json_schema",
    "warn_of_mistakes",
]

show_in_facade(__name__)
