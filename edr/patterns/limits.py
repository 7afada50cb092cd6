"""Limits of a body pattern, checked when the pattern is parsed.

Bindings are data from files, brokers and browsers, and matching runs on the event loop. The limits
bound the time of a match. Two sizes matter:

* The pattern. Its fields, elements and characters bound its memory and the time to parse it, to add
  it to an index, and to match a small body.
* The body. Each value of a body costs at most ``Limits.max_cost``. The cost is counted per field,
  because the values of different fields are different parts of the body. ``Bus(max_body=…)`` bounds
  the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a body pattern, and of a document of bindings.

    The defaults are for trusted authors. They accept every pattern that Amazon EventBridge accepts
    (up to 2,048 characters) and larger ones. Use ``untrusted`` for all other authors.

    Attributes:
        max_depth: Nested objects, members of ``$or`` included. A body has at most 128.
        max_fields: Leaves of the whole pattern.
        max_objects: Objects of the whole pattern, members of ``$or`` included.
        max_elements: Elements of the whole pattern, nested lists included. A numeric range counts
            as five elements, an address block as two. Tables hold the elements, so this limit
            bounds memory and the time to parse and add a pattern, not the time of a match.
        max_characters: Total length of all field names and operands.
        max_affix_length: Characters of one prefix, suffix or wildcard.
        max_cost: Cost of a match for one value of the body, counted per field. Every three
            conditions on the field cost 1, where all members of ``$or`` are counted together. Every
            three wildcards, every three numeric ranges and every three mask lengths of address
            blocks cost 1. Every eight lengths of prefixes and suffixes cost 1. Each
            ``anything-but`` after the first one in a leaf costs 2.
        max_combinations: Conjunctions after expanding every ``$or``. EventBridge allows 1,000.
        max_names: App names times account ids of one binding.
        max_bindings: Bindings of one document.
    """

    max_depth: int = 128
    max_fields: int = 256
    max_objects: int = 1_000
    max_elements: int = 10_000
    max_characters: int = 256_000
    max_affix_length: int = 2_048
    max_cost: int = 256
    max_combinations: int = 1_000
    max_names: int = 10_000
    max_bindings: int = 10_000

    @classmethod
    def untrusted(cls) -> Self:
        """Return the limits for bindings from untrusted authors.

        A match takes at most 5 ms for a body of 2 KB and 100 ms for a body of 256 KiB, the default
        of ``Bus(max_body=…)``. The limits apply to each binding: also limit the number of bindings
        per author.
        """
        return cls(
            max_depth=8,
            max_fields=32,
            max_objects=64,
            max_elements=256,
            max_characters=4_096,
            max_affix_length=128,
            max_cost=2,
            max_combinations=64,
            max_names=64,
            max_bindings=16,
        )


DEFAULT_LIMITS = Limits()
