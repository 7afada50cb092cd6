from pathlib import Path
from types import SimpleNamespace

import pytest

from edr.app.config import Secret
from edr.app.config.secret_values import check_url, secret, url_with

INFO = SimpleNamespace(context={"folder": Path("/etc/edr")})


def test_a_secret_file_is_relative_to_the_configuration():
    assert secret({"file": "a"}, INFO) == Secret(file=Path("/etc/edr/a"))


@pytest.mark.parametrize(
    "value", ["CANARY", {"env": "CANARY-1"}, {"CANARY": "env"}, {"env": "A", "file": "CANARY"}, 5]
)
def test_a_secret_that_is_refused_is_not_shown(value):
    with pytest.raises(ValueError, match="must be") as raised:
        secret(value, INFO)

    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize(
    "value",
    [
        "https://user:CANARY@host",
        "https://user@CANARY",
        "ftp://CANARY",
        "CANARY",
        "https://user:CA/NARY@host",
        "https://[CANARY",
        "https://host:CANARY",
        "https://",
        "https://a b/CANARY",
        "https://a/\nCANARY",
    ],
)
def test_a_url_that_is_refused_is_not_shown(value):
    with pytest.raises(ValueError, match="must") as raised:
        url_with("http", "https").check(value, INFO)

    assert "CANARY" not in str(raised.value)
    assert "NARY" not in str(raised.value)


def test_a_url_is_kept():
    assert url_with("https").check("HTTPS://a:1/b?c=d", INFO) == "HTTPS://a:1/b?c=d"
    assert check_url("https://a", ["https"]) is None
