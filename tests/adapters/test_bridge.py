import datetime
import logging
import os
import subprocess
import sys

import pytest

import edr
from edr.adapters.bridge import LEVELS, level_of, plain, severity_of, verbosity_of, was_record


@pytest.mark.parametrize(
    ("level", "verbosity", "severity"),
    [
        (1, "trace", "ok"),
        (5, "trace", "ok"),
        (9, "trace", "ok"),
        (10, "debug", "ok"),
        (20, "info", "ok"),
        (29, "info", "ok"),
        (30, "warn", "warning"),
        (39, "warn", "warning"),
        (40, "error", "critical"),
        (50, "fatal", "critical"),
        (99, "fatal", "critical"),
    ],
)
def test_a_level_rounds_down_to_a_verbosity_and_is_a_severity(level, verbosity, severity):
    assert (verbosity_of(level), severity_of(level)) == (verbosity, severity)


@pytest.mark.parametrize("verbosity", edr.Verbosity)
def test_a_verbosity_is_the_level_that_is_that_verbosity(verbosity):
    assert verbosity_of(LEVELS[verbosity]) is verbosity


def test_an_event_is_logged_at_the_higher_of_its_two_levels(make_event):
    assert level_of(make_event(severity="ok", verbosity="trace")) == 5
    assert level_of(make_event(severity="critical", verbosity="info")) == logging.ERROR
    assert level_of(make_event(severity="warning", verbosity="fatal")) == logging.CRITICAL


class Unwritable:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class Failing(dict):
    """As a dict that another thread changes while it is read."""

    def items(self):
        raise RuntimeError("dictionary changed size during iteration")


CYCLE = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        ({"a": [1, None, True, "x"]}, {"a": [1, None, True, "x"]}),
        (float("nan"), "nan"),
        (2**64, str(2**64)),
        ("\ud800", "\\ud800"),
        (b"x", "b'x'"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ({1: datetime.date(2026, 1, 2), "b": {3}}, {"1": "2026-01-02", "b": [3]}),
        (Failing(a=object()), "{'a': <object object at "),
        (Unwritable(), "<Unwritable that cannot be written>"),
    ],
)
def test_what_is_no_json_is_written_as_text_and_all_around_it_is_kept(value, as_json):
    written = plain(value)

    assert written[: len(as_json)] == as_json if isinstance(written, str) else written == as_json


def test_a_cycle_is_written_and_so_is_what_lies_too_deep(make_event):
    deep = object()
    for _ in range(500):
        deep = [deep]

    for value in (CYCLE, deep):
        assert make_event(body={"value": plain(value)})


def test_an_event_was_a_record_if_its_body_says_so(make_event):
    assert was_record(make_event(body={"bridge": "logging"}))
    assert not any(
        was_record(make_event(body=b)) for b in ({}, {"bridge": "river"}, {"bridge": []})
    )


FORKS_WHILE_ANOTHER_THREAD_COUNTS = """
import logging, os, threading
from edr.adapters import bridge
from edr.adapters.logging import Handler

handler = Handler(app_version="1")
logger = logging.getLogger("shop")
logger.addHandler(handler)
counting, go_on = threading.Event(), threading.Event()

def count():
    (counts,) = bridge._all_counts
    with counts._lock:
        counting.set()
        go_on.wait()

thread = threading.Thread(target=count)
thread.start()
counting.wait()
child = os.fork()
if child == 0:
    logger.warning("in the child")
    os._exit(handler.statistics().dropped != {"no bus": 1})
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go_on.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_that_was_forked_while_another_thread_counted_can_log():
    command = [sys.executable, "-W", "ignore", "-c", FORKS_WHILE_ANOTHER_THREAD_COUNTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("0\n", "")
