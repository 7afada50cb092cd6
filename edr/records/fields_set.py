"""``FIELDS_SET``: the ``model_fields_set`` of every event that edr makes without pydantic.

Rejected: a set for each event, which is 728 of 1,631 bytes and 4 % of an emit; a frozenset,
which pydantic refuses to dump.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Never


def _refuse(_self: object, *_args: object) -> Never:
    raise TypeError("model_fields_set of an event cannot be changed")


class _FixedSet(set[str]):
    """A set that cannot be changed. Copies, pickled ones too, are plain sets."""

    __slots__ = ()
    __init__ = __ior__ = __iand__ = __isub__ = __ixor__ = _refuse
    add = clear = difference_update = discard = intersection_update = _refuse
    pop = remove = symmetric_difference_update = update = _refuse

    def copy(self) -> set[str]:
        return set(self)

    def __repr__(self) -> str:
        return repr(set(self))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:
        return set, (list(self),)


def _fixed(names: Iterable[str]) -> set[str]:
    fixed: set[str] = set.__new__(_FixedSet)
    set.update(fixed, names)
    return fixed


FIELDS_SET: set[str] = _fixed(
    {
        "account_id",
        "account_tree",
        "app_name",
        "app_version",
        "body",
        "id",
        "node",
        "severity",
        "verbosity",
        "timestamp",
    }
)
"""All fields but ``traceparent``, which few events have."""

TRACED_FIELDS_SET: set[str] = _fixed({*FIELDS_SET, "traceparent"})
"""All fields."""
