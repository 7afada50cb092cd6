"""The limits of a body pattern: what may be asked, so that no pattern can hurt those beside it.

Bindings are data. They come from files, brokers and browsers, and one match is one hold of the
event loop. So a pattern is measured when it is read, and what is refused is refused there.

Two things can grow: the pattern and the body. What a pattern *holds* (fields, elements,
characters) bounds its memory and the time of reading it, of adding it to an index, and of a match
with a small body. What it *asks of one value* (``Limits.work``) is what a large body multiplies,
and is counted field by field, as the values of different fields are different parts of the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a pattern may ask. The defaults are for bindings that colleagues write.

    Within them the worst pattern and body that a search over shapes has found hold the loop for at
    most 2 ms where the body has 2 KB, and for 50 to 70 ms where it has 1 MiB, on the machine of the
    benchmarks; most that are bad take 30 to 40 ms. It is linear in the body, and less than what it
    takes to make the event of it, but for strings and numbers in one flat array.
    ``benchmarks/bench_hostile.py`` searches for the worst. Who raises ``work`` raises it in
    proportion.

    Attributes:
        depth: Objects within each other, members of ``$or`` included. Reading and testing recurse.
        fields: Leaves of the whole pattern. The 2 KiB that EventBridge allows for a pattern hold
            hardly more than 128.
        objects: Objects of the whole pattern, members of ``$or`` included.
        elements: Elements of the whole pattern, those of lists in them included; a numeric range is
            as many as five, an address block as two. They are looked up in tables, so this bounds
            memory and the time of reading and adding, not that of matching.
        characters: Length of all field names and operands together.
        affix: Characters of one prefix, suffix or wildcard. An index cuts values to these lengths.
        work: What is asked of any one value, all members of ``$or`` together, in look-ups; see
            ``work_of_leaf``.
        combinations: Plain conjunctions that the ``$or`` unfold to. 1,000 is EventBridge's limit:
            what is refused there is refused here.
        names: Of a whole binding: its app names times its account ids.
        bindings: Bindings of one document.
    """

    depth: int = 64
    fields: int = 128
    objects: int = 1_000
    elements: int = 10_000
    characters: int = 256_000
    affix: int = 1_024
    work: int = 4
    combinations: int = 1_000
    names: int = 10_000
    bindings: int = 10_000

    @classmethod
    def untrusted(cls) -> Self:
        """Return the limits for people whom you do not know: a few KB, a fraction of the work.

        They hold for each binding. How many of them somebody may have is for you to say.
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
