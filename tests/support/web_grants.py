"""The authenticator of most tests of the gateway."""

from edr.web import Grant

OPERATOR = "all"


def grant_of(token, peer):
    """The token is the account; that of operators is ``all``."""
    if token is None:
        return None
    return Grant.everything() if token == OPERATOR else Grant(token)
