"""The screen in a terminal of its own: a pseudo-terminal and a process."""

import os
import re
import signal
import sys
import termios

import pytest
from support.pseudo_terminal import ENTER, LEAVE, PseudoTerminal

PROGRAM = """
import asyncio, sys
from edr.cli.screen import Screen

async def main():
    keys = asyncio.Queue()
    resized = lambda: screen.show([[("size %d %d" % screen.size, "")]])
    with Screen(keys.put_nowait, resized) as screen:
        screen.show([[("hello ", "critical"), ("wide 名", "")], [("second", "dim")]])
        while (key := await keys.get()) != "q":
            if key == "x":
                raise ZeroDivisionError
            screen.show([[("typed " + key, "")]])

asyncio.run(main())
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def terminal():
    made = []

    def make(program=PROGRAM, **options):
        made.append(PseudoTerminal([sys.executable, "-c", program], **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_key_ends_the_screen_and_restores_the_terminal(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    assert b"hello" in shown.written
    shown.type(b"k")
    shown.wait_for(b"typed k")
    shown.type(b"q")

    assert shown.end() == 0
    assert shown.is_restored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_restores_the_terminal_and_ends_the_process(terminal, number):
    shown = terminal()
    shown.wait_for(b"second")
    shown.process.send_signal(number)

    assert shown.end() == -number
    assert shown.is_restored


def test_interrupt_restores_the_terminal(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    shown.type(b"\x03")

    assert shown.end() != 0
    assert b"KeyboardInterrupt" in shown.written
    assert shown.is_restored


def test_exception_restores_the_terminal(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    shown.type(b"x")

    assert shown.end() == 1
    assert b"ZeroDivisionError" in shown.written
    assert shown.is_restored


def test_stopped_process_restores_the_terminal_until_it_is_continued(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    shown.process.send_signal(signal.SIGTSTP)
    shown.wait_for(LEAVE)
    os.waitpid(shown.process.pid, os.WUNTRACED)
    assert shown.is_restored
    shown.process.send_signal(signal.SIGCONT)
    shown.wait_for(ENTER)
    shown.wait_for(b"size 80 24")
    shown.type(b"q")

    assert shown.end() == 0
    assert shown.is_restored


def test_resized_terminal_is_drawn_again(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    termios.tcsetwinsize(shown.controller, (30, 100))
    shown.wait_for(b"size 100 30")
    shown.type(b"q")

    assert shown.end() == 0


def test_screen_is_not_cleared_between_two_contents(terminal):
    shown = terminal()
    shown.wait_for(b"second")
    written = len(shown.written)
    shown.type(b"k")
    shown.wait_for(b"typed k")
    shown.type(b"q")
    shown.end()

    assert not re.search(rb"\x1b\[2J", shown.written[written : shown.written.rfind(LEAVE)])


def test_no_color_is_respected(terminal):
    shown = terminal(environ={"NO_COLOR": "1"})
    shown.wait_for(b"second")
    shown.type(b"q")
    shown.end()

    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", shown.written)
