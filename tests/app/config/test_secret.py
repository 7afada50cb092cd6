import pytest

from edr.app.config import HttpSinkConfig, Secret, SecretError, Secrets


def test_a_variable_is_read():
    assert Secret(env="A").read({"A": "x"}) == "x"


@pytest.mark.parametrize("environ", [{}, {"A": ""}])
def test_a_missing_or_empty_variable_is_named(environ):
    with pytest.raises(SecretError, match="variable A must be set and not empty"):
        Secret(env="A").read(environ)


@pytest.mark.parametrize(("data", "text"), [(b"x\n", "x"), (b"x\r\n", "x"), (b" x\n\n", " x\n")])
def test_a_file_is_read_without_its_line_end(tmp_path, data, text):
    (tmp_path / "a").write_bytes(data)

    assert Secret(file=tmp_path / "a").read() == text


@pytest.mark.parametrize(
    ("data", "fault"),
    [(b"\n", "must not be empty"), (b"\xff", "must be UTF-8"), (b"x" * 65537, "at most 64 KiB")],
)
def test_a_file_that_is_refused_is_named(tmp_path, data, fault):
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(SecretError, match=fault) as raised:
        Secret(file=tmp_path / "a").read()

    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None  # the error of the decoder has the data


def test_a_folder_is_not_a_secret(tmp_path):
    with pytest.raises(SecretError, match="cannot be read: Is a directory"):
        Secret(file=tmp_path).read()


def test_a_given_value_is_not_shown():
    assert "CANARY" not in repr(Secret(given="CANARY"))


def test_secrets_are_read_once(tmp_path):
    (tmp_path / "a").write_text("old")
    secrets, secret = Secrets(), Secret(file=tmp_path / "a")
    first = secrets.text(secret)
    (tmp_path / "a").write_text("new")

    assert (first, secrets.text(secret), Secrets().text(secret)) == ("old", "old", "new")
    assert "old" not in repr(secrets)


def test_plain_text_is_no_secret():
    assert Secrets().text("plain") == "plain"


def test_the_secrets_of_a_part_are_compared():
    part = HttpSinkConfig.model_validate(
        {
            "url": {"env": "U"},
            "headers": {"X-A": {"env": "H"}, "X-B": "plain"},
            "sign": {"secret": {"env": "S"}},
        }
    )
    environ = {"U": "u", "H": "h", "S": "s"}

    assert Secrets(environ).of(part) == ("u", "h", "s")
    assert Secrets({**environ, "S": "t"}).of(part) != Secrets(environ).of(part)
