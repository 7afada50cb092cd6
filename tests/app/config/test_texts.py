from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from edr.app.config.texts import Listen, Mode, Name, choice, path_of, plain_text

INFO = SimpleNamespace(context={"folder": Path("/etc/edr")})


def test_a_choice_names_the_nearest():
    with pytest.raises(ValueError, match="must be post, put or patch, got 'pots'; did you mean"):
        choice("post", "put", "patch").check("pots", INFO)


@pytest.mark.parametrize("value", ["a\nb", "\x7f", "\ud800", "", 5, "x" * 4097])
def test_text_that_is_refused(value):
    with pytest.raises(ValueError, match="must") as raised:
        plain_text(value)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [(Name, "audit-2", "Audit"), (Listen, "[::1]:80", "host:65536"), (Mode, "0640", "0999")],
)
def test_a_text_has_the_form_of_its_kind(kind, good, bad):
    TypeAdapter(kind).validate_python(good)
    with pytest.raises(ValueError, match="must"):
        TypeAdapter(kind).validate_python(bad)


def test_a_path_is_relative_to_the_configuration():
    assert path_of("a/b", INFO) == Path("/etc/edr/a/b")
    assert path_of("/a", INFO) == Path("/a")
