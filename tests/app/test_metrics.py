"""The metrics of the application."""

from app.conftest import BASIC
from edr.app.metrics import page_of


async def test_the_page_has_the_parts_and_the_last_reload(running):
    async with running(BASIC) as application:
        application.reload_ok = False
        page = page_of(application).decode()

    assert 'edr_reload_ok{bus="edr"} 0.0' in page
    assert 'edr_sink_backlog{bus="edr",sink="audit"} 0.0' in page
    assert 'edr_source_connections{bus="edr",source="local"} 0.0' in page


async def test_each_sample_is_on_the_page_once(running):
    async with running(BASIC) as application:
        lines = page_of(application).decode().splitlines()

    samples = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(samples) == len(set(samples))
