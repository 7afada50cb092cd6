"""``View``: the events that the clients of a group receive: its bindings under its grant.

The bus routes an event to the tap of a group by bindings, and has no grants. So there are
three parts:

* ``tap_bindings`` are the bindings, narrowed to the granted account where they name no account.
  They only save time. A binding cannot require two accounts at once, so one that names another
  account is not narrowed.
* ``admits`` tests each event that the bus offers: is it visible, and does it still match when its
  account tree is cut? The second test is needed only if a binding includes the descendants of a
  named account. This account may be above the grant: the uncut event matches such a binding, and
  the client must not find out.
* ``matches`` is the whole test, for events of the window.

Rejected: a check of the account names of a binding, when a client joins. Nothing here knows the
ancestors of an account. Also the answer would show whether an account exists.
"""

from __future__ import annotations

from collections.abc import Hashable

from edr.records import Binding, Event, KeyIndex, index_keys
from edr.streams.grant import INVISIBLE, Grant

WILDCARD = "*"


class View:
    """The events that match any of ``bindings`` and are visible under ``grant``.

    Args:
        bindings: the bindings of the clients.
        grant: their grant.
        limit: further, only the events of this view, whatever the bindings.
    """

    def __init__(
        self, bindings: tuple[Binding, ...], grant: Grant, limit: View | None = None
    ) -> None:
        self.bindings: tuple[Binding, ...] = bindings
        self.grant: Grant = grant
        keys = index_keys(*bindings)
        self.key: Hashable = (frozenset(keys), grant)
        """Equal for views that show the same events in the same form."""
        self.tap_bindings: tuple[Binding, ...] = tuple(narrowed(each, grant) for each in bindings)
        """The bindings of the tap. They match all events of the view, and possibly more."""
        self.admits_all: bool = grant.shows_everything and limit is None
        """Whether each event that matches ``tap_bindings`` belongs to the view."""
        self._limit = limit
        self._index: KeyIndex[bool] = KeyIndex()
        for key in keys:
            self._index.add(key, True)
        self._must_match_again = grant.account is not None and any(
            each.include_descendants
            and each.account_id != WILDCARD
            and each.account_ids != (grant.account,)
            for each in bindings
        )

    def admits(self, event: Event) -> bool:
        """Return whether an event that matches ``tap_bindings`` belongs to the view."""
        cut = self.grant.cut(event)
        if cut == INVISIBLE or not self._is_within_limit(event):
            return False
        return not self._must_match_again or self._matches_cut(event, cut)

    def matches(self, event: Event) -> bool:
        """Return whether any event belongs to the view."""
        cut = self.grant.cut(event)
        if cut == INVISIBLE or not self._is_within_limit(event):
            return False
        return self._matches_cut(event, cut)

    def _is_within_limit(self, event: Event) -> bool:
        return self._limit is None or self._limit.matches(event)

    def _matches_cut(self, event: Event, cut: int) -> bool:
        found = self._index.find(
            event.app_name,
            event.severity,
            event.verbosity,
            event.account_id,
            event.account_tree[cut:],
        )
        return bool(found.wanting(event.body))  # type: ignore[arg-type]  # always a dict


def narrowed(binding: Binding, grant: Grant) -> Binding:
    """Return ``binding``, limited to the account of ``grant`` if it names no account."""
    if grant.account is None or binding.account_id != WILDCARD:
        return binding
    # A list, since "*" as the whole value would match every account.
    return binding.model_copy(update={"account_id": [grant.account], "include_descendants": True})
