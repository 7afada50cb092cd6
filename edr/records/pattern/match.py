"""One match on its way: what is known of a body, and what is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edr.records.pattern.arrays import Seen
from edr.records.pattern.nodes import Condition, Entry

MANY = 1_000
"""When so many objects have been visited one by one, the others are asked for all at once, however
short the arrays are that they are in: of four objects with four each, and so on, there are a
hundred thousand in 1 MiB."""


class Match:
    """One match on its way.

    Attributes:
        scopes: The objects that the visited one is in, itself the last, each with the verdicts of
            the conditions that it was tested for.
        entries: What is found.
        seen: What was seen of the body's arrays.
        one_by_one: How many more objects in short arrays are visited one by one.
    """

    __slots__ = ("entries", "one_by_one", "scopes", "seen")

    def __init__(self) -> None:
        self.scopes: list[tuple[dict[str, object], dict[Condition, bool]]] = []
        self.entries: dict[Entry[Any], None] = {}
        self.seen: Seen = {}
        self.one_by_one: int = MANY

    def holds(self, others: Iterable[tuple[int, Condition]]) -> bool:
        """Return whether the conditions on scopes hold; those on objects further in are not asked.

        Args:
            others: As in ``Conjunction.others``.
        """
        for depth, condition in others:
            if depth >= len(self.scopes):
                break
            body, verdicts = self.scopes[depth]
            verdict = verdicts.get(condition)
            if verdict is None:
                verdict = verdicts[condition] = condition.test(body, self.seen)
            if not verdict:
                return False
        return True
