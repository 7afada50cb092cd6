"""Functions that a configuration names."""

import os.path

import pytest

from edr.app.functions import load_function


def test_a_function_is_found_in_its_module():
    assert load_function("os.path:join") is os.path.join
    assert load_function("pathlib:Path.home").__name__ == "home"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("no_such_module:f", ModuleNotFoundError),
        ("os.path:no_such_name", AttributeError),
        ("os.path:sep", TypeError),
    ],
)
def test_what_cannot_be_called_is_an_error(path, error):
    with pytest.raises(error):
        load_function(path)
