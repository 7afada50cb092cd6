import hashlib
import hmac
import os
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from edr.sources import Tokens, TokensError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def hash_of(token):
    return hashlib.sha256(token.encode()).hexdigest()


def line(token, **fields):
    return orjson.dumps({"sha256": hash_of(token), "rights": ["emit"], **fields}) + b"\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.jsonl"


@pytest.fixture
def tokens_of(path):
    def tokens_of(*lines):
        path.write_bytes(b"".join(lines))
        path.chmod(0o600)
        return Tokens(path, clock=lambda: NOW)

    return tokens_of


def test_token_is_found_by_its_hash(tokens_of):
    tokens = tokens_of(line("one", account="acme"), b"\n", line("two", rights=["emit", "metrics"]))

    assert len(tokens) == 2
    assert tokens.find("one").account == "acme"
    assert tokens.find("two").account is None
    assert tokens.find("two").rights == {"emit", "metrics"}
    for unknown in ("", "three", hash_of("one"), "one ", "\ud800", "x" * 100_000):
        assert tokens.find(unknown) is None


@pytest.mark.parametrize(
    ("header", "is_found"),
    [
        ("Bearer one", True),
        ("bearer  one", True),
        ("one", False),
        ("Basic one", False),
        ("Bearer", False),
        ("Bearer one two", False),
        ("", False),
    ],
)
def test_header_has_the_scheme_bearer(tokens_of, header, is_found):
    assert (tokens_of(line("one")).find_bearer(header) is not None) == is_found


@pytest.mark.parametrize(("seconds", "is_found"), [(-1, False), (0, False), (1, True)])
def test_token_expires(tokens_of, seconds, is_found):
    tokens = tokens_of(line("one", expires=NOW + timedelta(seconds=seconds)))

    assert (tokens.find("one") is not None) == is_found


def test_every_hash_is_compared_in_constant_time(tokens_of, monkeypatch):
    tokens = tokens_of(line("one"), line("two"), line("three"))
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    tokens.find("one")
    tokens.find("unknown")

    assert len(compared) == 6


def test_changed_file_is_read_again(tokens_of, path):
    tokens = tokens_of(line("one"))
    path.write_bytes(line("two"))

    assert tokens.find("one") is None
    assert tokens.find("two") is not None


@pytest.mark.parametrize("change", ["fault", "removed", "writable"])
def test_earlier_tokens_stay_after_a_faulty_change(tokens_of, path, change, caplog):
    tokens = tokens_of(line("one"))
    if change == "fault":
        path.write_bytes(line("two") + b"{")
    elif change == "removed":
        path.unlink()
    else:
        path.chmod(0o666)
    assert tokens.find("one") is not None
    assert tokens.find("two") is None

    assert "earlier tokens stay valid" in caplog.text
    with pytest.raises(TokensError):
        tokens.reload()


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (b"{", "must be a JSON object"),
        (b"[]", "must be a JSON object"),
        (line("x", acount="a"), "unknown key 'acount'; did you mean 'account'?"),
        (line("x", sha256="XY"), "sha256"),
        (line("x", account=""), "account"),
        (line("x", rights=[]), "rights"),
        (line("x", rights=["emits"]), "did you mean 'emit'?"),
        (line("x", rights=[1]), "rights"),
        (line("x", rights=["watch"]), "account: must be given for the right watch"),
        (line("x", expires="2026-01-01T00:00:00"), "UTC offset"),
        (line("x", expires=5), "expires"),
        (line("one"), "occurs twice"),
    ],
)
def test_faulty_line_is_an_error_with_its_number(tokens_of, faulty, reason):
    with pytest.raises(TokensError) as caught:
        tokens_of(line("one"), faulty)

    assert caught.value.line == 2
    assert reason in str(caught.value)


def test_missing_file_is_an_error(path):
    with pytest.raises(TokensError, match="cannot be read"):
        Tokens(path)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_file_that_others_may_write_is_an_error(tokens_of, path, mode):
    tokens_of(line("one"))
    path.chmod(mode)
    with pytest.raises(TokensError, match="chmod go-w"):
        Tokens(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_an_error(tokens_of, path):
    tokens_of(line("one"))
    os.chown(path, 65534, 65534)
    with pytest.raises(TokensError, match="this user or root"):
        Tokens(path)


def test_errors_do_not_quote_a_secret(tokens_of):
    with pytest.raises(TokensError) as caught:
        tokens_of(line("x", sha256="canary-secret"))

    assert "canary" not in str(caught.value)
