"""``Opening``: awaited or entered."""

import pytest

from edr._util.opening import Opening


class Resource:
    is_closed = False

    async def aclose(self):
        self.is_closed = True


async def open_resource():
    return Resource()


async def test_awaiting_returns_an_open_resource():
    resource = await Opening(open_resource)

    assert not resource.is_closed


async def test_the_block_closes_the_resource_when_it_raises():
    with pytest.raises(ZeroDivisionError):
        async with Opening(open_resource) as resource:
            assert not resource.is_closed
            raise ZeroDivisionError

    assert resource.is_closed
