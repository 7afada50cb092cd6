"""The log of one component."""

import logging

from edr.delivery import FaultLog

logger = logging.getLogger("edr.test")


def test_each_line_begins_with_the_name(caplog):
    FaultLog("link 'a'", logger).log(logging.WARNING, "lost %d events", 3)

    assert caplog.messages == ["link 'a' lost 3 events"]


def test_a_repeated_fault_is_logged_once(caplog):
    log = FaultLog("sink", logger)
    for _ in range(3):
        log.fault(logging.WARNING, "full", "cannot write: %s", "the disk is full")
    log.fault(logging.WARNING, "other", "cannot connect")

    assert caplog.messages == ["sink cannot write: the disk is full", "sink cannot connect"]


def test_a_fault_is_logged_again_after_30_seconds(caplog):
    now = [0.0]
    log = FaultLog("sink", logger)
    log._limited._clock = lambda: now[0]  # the default is bound when RateLimitedLog is defined
    for now[0] in (1.0, 2.0, 30.9, 31.1):
        log.fault(logging.WARNING, "full", "cannot write")

    assert caplog.messages == ["sink cannot write", "sink cannot write (and 2 more like it)"]


def test_a_name_with_a_percent_sign_is_logged_as_it_is(caplog):
    FaultLog("link '%d'", logger).log(logging.WARNING, "is up")

    assert caplog.messages == ["link '%d' is up"]
