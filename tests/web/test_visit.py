import pytest

from edr.web import Grant
from edr.web.authentication import Identity
from edr.web.refusals import RefusedError
from edr.web.visit import Visit


def test_operator_needs_a_grant_of_everything():
    def visit(grant):
        return Visit(None, None, Identity(grant, "t"), None, None)

    visit(Grant.everything()).check_operator()
    with pytest.raises(RefusedError) as caught:
        visit(Grant("acme")).check_operator()
    assert caught.value.status == 403
