import pytest

from edr.app.config.checked import any_of, checked, refuse


@pytest.mark.parametrize(
    ("options", "text"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_any_of(options, text):
    assert any_of(options) == text


def test_a_refusal_shows_a_plain_value_and_the_kind_of_others():
    assert str(refuse("a name", "x y", "; see the manual")) == (
        "must be a name, got 'x y'; see the manual"
    )
    assert str(refuse("a name", ["CANARY"])) == "must be a name, got an array"


def test_a_checked_value_is_written_as_it_is_read():
    hexadecimal = checked("number", lambda text: int(text, 16), hex)

    assert hexadecimal.write(hexadecimal.check("0xff", None)) == "0xff"
