import logging

import pytest

import edr
from edr._util.log import RateLimitedLog
from edr.control.parts import PartList, is_part


class Sink:
    kind = "sink"
    bindings = (edr.Binding(severity="critical"),)

    def __init__(self, name="alarms", status=None):
        self.name = name
        self._status = status or {"state": "up"}

    def status(self):
        if isinstance(self._status, Exception):
            raise self._status
        return self._status


class ServicePart(Sink):
    async def start(self): ...
    async def drain(self, timeout=None):
        return 0

    async def aclose(self): ...
    def statistics(self): ...


@pytest.fixture
def parts_of(bus):
    return lambda parts: PartList(bus, parts, RateLimitedLog())


def test_parts_are_a_collection_or_a_function(parts_of):
    sink = Sink()

    assert list(parts_of([sink])) == [sink]
    assert list(parts_of(lambda: iter([sink]))) == [sink]
    assert list(parts_of(None)) == []


async def test_services_that_are_parts_are_shown_once(parts_of, bus):
    link, given = ServicePart("link"), ServicePart("given")
    bus.add_service(link, "link")
    bus.add_service(given, "given")

    assert list(parts_of([given])) == [given, link]


def test_a_service_without_the_attributes_is_no_part(bus):
    assert is_part(Sink())
    assert not is_part(bus)


def test_a_part_is_found_by_its_name_or_with_its_kind(parts_of):
    parts = parts_of([Sink("a"), Sink("b")])

    assert parts.find("b").name == "b"
    assert parts.find("sink a").name == "a"
    assert parts.find("c") is None


def test_the_description_has_the_status_and_the_name(parts_of):
    parts = parts_of(None)
    sink = Sink(status={"state": "retrying", "name": "other", "lost": {"full": 2}})

    assert parts.describe(sink) == {
        "name": "alarms",
        "kind": "sink",
        "state": "retrying",
        "lost": {"full": 2},
    }


def test_a_password_is_not_shown(parts_of):
    sink = Sink(status={"error": "no answer of https://u:secret@host"})

    assert parts_of(None).describe(sink)["error"] == "no answer of https://…@host"


def test_a_part_that_raises_is_shown_and_logged(parts_of, caplog):
    with caplog.at_level(logging.ERROR, "edr"):
        shown = parts_of(None).describe(Sink(status=KeyError("counts")))

    assert shown["state"] == "unknown"
    assert shown["error"] == "KeyError: 'counts'"
    assert "part 'alarms' raised in status" in caplog.text


def test_a_function_that_raises_gives_the_services_only(parts_of, caplog):
    def parts():
        raise ZeroDivisionError

    assert list(parts_of(parts)) == []
    assert "the parts raised in status" in caplog.text
