"""edr's pytest plugin: the fixture ``edr_bus``. See ``edr.testing``.

A module beside the package, and not in it: pytest imports its plugins before anything else, and
one in the package would import all of edr in every run, also of tests that know nothing of it, and
before a coverage tool can see it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edr.testing import RecordingBus

_has_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take note of a test that raised, also where that is expected."""
    if call.excinfo is not None:
        item.stash[_has_failed] = True
    return (yield)


@pytest.fixture
def edr_bus_options() -> Mapping[str, Any]:
    """The arguments of ``edr.Bus`` for ``edr_bus``; write a fixture of this name to change them."""
    return {}


@pytest.fixture
def edr_bus(
    request: pytest.FixtureRequest, edr_bus_options: Mapping[str, Any]
) -> Generator[RecordingBus, None, None]:
    """The default bus of this test: it checks all bodies, and records what is emitted.

    ``edr_bus.assert_emitted(app_name=..., body={...}, times=1)``, ``edr_bus.assert_not_emitted()``,
    ``edr_bus.events``, and all that a bus has: ``await edr_bus.join()`` before you assert on
    what callbacks do. A subscription that the test leaves open is an error.
    """
    from edr.testing.plugin import bus_of_test  # noqa: PLC0415 - see above

    with bus_of_test(edr_bus_options, lambda: request.node.stash.get(_has_failed, False)) as bus:
        yield bus
