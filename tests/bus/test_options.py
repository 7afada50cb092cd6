"""Checks of options: each error names the option, the expected value and the given one."""

import math
from enum import StrEnum

import pytest

from edr.bus import options


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (
            lambda: options.whole_number("n", True, at_least=0),
            TypeError,
            "n must be a whole number",
        ),
        (
            lambda: options.whole_number("n", 0, at_least=1),
            ValueError,
            "n must be at least 1, got 0",
        ),
        (lambda: options.seconds("t", "5"), TypeError, "t must be a number of seconds, got '5'"),
        (lambda: options.seconds("t", 0), ValueError, "t must be more than 0 seconds, got 0"),
        (lambda: options.seconds("t", math.nan), ValueError, "got nan"),
        (lambda: options.seconds("t", math.inf, infinite=False), ValueError, "t must be finite"),
        (lambda: options.text("node", ""), ValueError, "node must be a non-empty string"),
        (lambda: options.check_name(5), TypeError, "name must be a string, got 5"),
        (lambda: options.keywords("f", ["capacty"], ["capacity"]), TypeError, "did you mean"),
        (lambda: options.function("f", 5), TypeError, "f must be callable, got 5"),
        (lambda: options.accepts("f", lambda: None, "event"), TypeError, "f must accept (event)"),
    ],
)
def test_option_error_names_the_expected_value(check, error, message):
    with pytest.raises(error) as caught:
        check()

    assert message in str(caught.value)


def test_choice_accepts_a_member_and_its_name():
    assert options.choice("colour", "red", Colour) is options.choice("colour", Colour.RED, Colour)
    with pytest.raises(ValueError, match=r"must be one of red, green, got 'gren'; did you mean"):
        options.choice("colour", "gren", Colour)


def test_seconds_accepts_zero_and_infinity_where_allowed():
    assert options.seconds("t", 0, zero=True) == 0
    assert options.seconds("t", math.inf) == math.inf


def test_plain_function_refuses_an_async_one():
    async def callback(event): ...

    with pytest.raises(TypeError, match="must be a plain function"):
        options.plain_function("on_error", callback)
