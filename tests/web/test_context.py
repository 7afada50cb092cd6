import pytest

from edr.web.refusals import RefusedError


async def test_context_of_a_stopped_gateway_admits_nobody(serve):
    gateway, _ = await serve()
    await gateway.start()
    gateway._context.check_running()
    await gateway.stop()
    with pytest.raises(RefusedError) as caught:
        gateway._context.check_running()

    assert caught.value.status == 503
