"""``Visit``: a request of a client that was identified."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from edr.streams import Grant
from edr.web.authentication import Identity
from edr.web.context import Context
from edr.web.limits import Seat
from edr.web.peer import Peer
from edr.web.refusals import RefusedError


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a client that was identified, for one of the routes."""

    context: Context
    request: Request
    identity: Identity
    peer: Peer
    seat: Seat
    """Counts the client while the request runs."""

    @property
    def grant(self) -> Grant:
        """The grant of the client."""
        return self.identity.grant

    def check_operator(self) -> None:
        """Raise unless the grant shows everything.

        Raises:
            RefusedError: it does not, 403.
        """
        if not self.grant.shows_everything:
            raise RefusedError("not_permitted", "this needs a grant that shows every event")
