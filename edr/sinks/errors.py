"""The exceptions by which a sink answers a batch that it did not deliver."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edr.errors import EdrError


class RetryError(EdrError):
    """The batch was not delivered now. The worker sends the same batch again later.

    Any other exception of a sink counts as this one.

    Args:
        reason: why, for the log and the status.
        after: seconds before the next attempt, at least; such as from a Retry-After header.
        slow: another attempt soon cannot help, such as with a wrong address or password. The next
            one is made after 60 seconds, or ``Retry(cap=…)`` if that is longer, with an alert.
    """

    def __init__(self, reason: str, *, after: float | None = None, slow: bool = False) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.after: float | None = after
        self.slow: bool = slow


class RejectError(EdrError):
    """The receiver will never accept some events of the batch, or the batch as a whole.

    Args:
        reasons: the index in the batch -> the reason, for events that are refused. They become dead
            letters. The other events are sent again, unless ``delivered``. A text is the reason for
            the whole batch. Then the worker sends each event by itself, once, so that one bad event
            affects only itself; an event that was sent by itself becomes a dead letter.
        too_large: the batch is too large. The worker sends the two halves of it instead.
        delivered: the other events were delivered. Without it, at least once comes first: a sink
            that checks a batch before it sends anything must not lose the rest.
    """

    def __init__(
        self,
        reasons: Mapping[int, str] | str,
        *,
        too_large: bool = False,
        delivered: bool = False,
    ) -> None:
        super().__init__(reasons)
        self.reasons: Mapping[int, str] | str = (
            reasons if isinstance(reasons, str) else MappingProxyType(dict(reasons))
        )
        self.too_large: bool = too_large
        self.delivered: bool = delivered

    def __str__(self) -> str:
        if isinstance(self.reasons, str):
            return self.reasons
        first = next(iter(self.reasons.values()), "no event was named")
        more = len(self.reasons) - 1
        return f"{first} (and {more} more)" if more > 0 else first


class RefusedError(EdrError):
    """Raised by ``open``: the sink cannot work with its configuration.

    The worker is ``refused`` and opens the sink again every 60 seconds. The journal keeps the
    events.
    """
