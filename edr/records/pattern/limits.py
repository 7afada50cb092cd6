"""The limits of a body pattern, each with its reason.

Together they make a match at most linear in the size of the body, times a constant that they
bound.
"""

from __future__ import annotations

MAX_DEPTH = 128
"""Objects within each other, members of ``$or`` included. No body nests deeper, and parsing and
testing recurse."""

MAX_ELEMENTS = 10_000
"""Elements of one leaf, or of one list in it. They are looked up in tables, so this bounds memory
and the time of parsing (some 10 ms), not that of matching."""

MAX_FIELDS = 128
"""Leaves of a pattern. Each object in an array of a body is tested for each of them, so it is a
factor of the cost. The 2 KiB that EventBridge allows for a pattern hold hardly more."""

MAX_TRIED = 16
"""Numeric ranges, wildcards and ``anything-but`` that a pattern asks of one field, in all
members of ``$or``. No table finds these: each is tried against each value, so it is a factor of the cost."""

MAX_WILDCARDS = 64
"""``*`` in one string. A match is linear for any number of them; nobody means more."""

MAX_AFFIX = 1_024
"""Characters of one prefix or suffix. For each length in use, that many characters are cut from a
value and hashed; the sum over all lengths is quadratic in the longest."""

MAX_COMBINATIONS = 1_000
"""Plain conjunctions that the ``$or`` of a pattern unfold to. EventBridge's limit: what is refused
there is refused here, and nobody could say what more of them ask for."""

MAX_INTEGER = 2**1_024
"""Magnitude of an integer, exclusive. Every float is smaller, so larger bounds would tell no two
numbers of a body apart; without a limit, the text of one could have any length."""
