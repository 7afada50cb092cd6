"""Logging with a limit, which never raises."""

import logging

import pytest

from edr._util.log import RateLimitedLog, log_safely


def test_log_safely_contains_what_a_handler_raises(failing_log, capsys, monkeypatch, fault):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    log_safely(logging.WARNING, "number %d", 1)
    RateLimitedLog().log(logging.WARNING, "key", "number %d", 2)

    assert failing_log == ["number 1", "number 2"]
    assert type(fault).__name__ in capsys.readouterr().err


def test_log_safely_lets_ctrl_c_through():
    class Interrupts(logging.Handler):
        def emit(self, record):
            raise KeyboardInterrupt

    handler = Interrupts()
    logging.getLogger("edr").addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            log_safely(logging.WARNING, "line")
    finally:
        logging.getLogger("edr").removeHandler(handler)


# What a log handler raises, wherever the bus logs


def test_log_counts_what_its_limit_suppressed(caplog):
    now = [0.0]
    log = RateLimitedLog(lambda: now[0])
    with caplog.at_level(logging.INFO, "edr"):
        for _ in range(100):
            log.log(logging.INFO, "a", "a happened")
        log.log(logging.INFO, "b", "b happened")
        now[0] = 1.5
        log.log(logging.INFO, "a", "a happened to %s", "him")

    assert caplog.messages == [
        "a happened",
        "b happened",
        "a happened to him (and 99 more like it)",
    ]


def test_log_forgets_keys_beyond_its_bound():
    log = RateLimitedLog(lambda: 0.0)
    for n in range(3000):
        log.log(logging.DEBUG, str(n), "x")

    assert len(log._suppressed) <= log.MAX_KEYS
