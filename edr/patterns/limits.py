"""The limits of a body pattern, so that no pattern can hold the event loop for long.

Bindings are data. They come from files, brokers and browsers, and a match runs on the event loop.
So a pattern is measured when it is read, and refused there when it exceeds a limit.

Two things can grow: the pattern and the body. The size of the pattern (fields, elements,
characters) bounds its memory and the time to read it, to add it to an index, and to match a small
body. What it costs one value (``Limits.work``) is multiplied by a large body, so it is counted for
each field: the values of different fields are different parts of the body. ``Bus(max_body=…)``
bounds the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a pattern, and of a document of bindings.

    The defaults are for bindings that colleagues write. They accept each pattern of 2,048
    characters that Amazon EventBridge accepts, and larger ones. ``untrusted`` is for all others.

    Attributes:
        depth: Objects within each other, members of ``$or`` included. A body has at most 128.
        fields: Leaves of the whole pattern.
        objects: Objects of the whole pattern, members of ``$or`` included.
        elements: Elements of the whole pattern, those of lists in them included; a numeric range
            counts as five, an address block as two. They are looked up in tables, so this bounds
            memory and the time to read and to add a pattern, not that of a match.
        characters: Length of all field names and operands together.
        affix: Characters of one prefix, suffix or wildcard.
        work: Cost of a match for any one value of the body. The conditions on one field count 1
            for each three, all members of ``$or`` together; so do their wildcards, their numeric
            ranges, and the lengths of their address blocks. Their prefixes and suffixes count 1
            for each eight lengths, each ``anything-but`` beyond the first in one leaf 2.
        combinations: Conjunctions that the ``$or`` of the pattern unfold to, at most 1,000 in
            EventBridge too.
        names: Of a whole binding: its app names times its account ids.
        bindings: Bindings of one document.
    """

    depth: int = 128
    fields: int = 256
    objects: int = 1_000
    elements: int = 10_000
    characters: int = 256_000
    affix: int = 2_048
    work: int = 256
    combinations: int = 1_000
    names: int = 10_000
    bindings: int = 10_000

    @classmethod
    def untrusted(cls) -> Self:
        """Return the limits for bindings of people you do not know.

        A match takes at most 5 ms for a body of 2 KB and 100 ms for one of 256 KiB, the default of
        ``Bus(max_body=…)``. They hold for each binding; limit how many one person has.
        """
        return cls(
            depth=8,
            fields=32,
            objects=64,
            elements=256,
            characters=4_096,
            affix=128,
            work=2,
            combinations=64,
            names=64,
            bindings=16,
        )


DEFAULT_LIMITS = Limits()
