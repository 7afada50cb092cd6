"""Body patterns: bindings that look into the event.

Read the modules in this order; each imports only from those before it:
limits, addresses, values, arrays, leaf, tree, objects, work, operands, meant, parser, warnings,
language, schema, tables, wildcards, ranges, postings, nodes, plan, index.

``Pattern`` (language) is one pattern, and the plain statement of what it means;
``PatternIndex`` (index) finds the patterns that a body matches, among any number of them.
"""

from edr.records.pattern.index import PatternIndex
from edr.records.pattern.language import Mismatch, Pattern
from edr.records.pattern.leaf import ABSENT
from edr.records.pattern.limits import DEFAULT_LIMITS, Limits
from edr.records.pattern.schema import pattern_json_schema
from edr.records.pattern.warnings import PatternWarning, warn_of_mistakes

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
