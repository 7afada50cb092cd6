"""Signatures, verified with the package of Standard Webhooks."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from edr.sinks.signing import Signer

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
DATA = b'{"text": "\xc3\xa9"}'


def test_a_receiver_verifies_the_signature():
    headers = Signer(SECRET).headers("id-1", DATA)
    Webhook(SECRET).verify(DATA, headers)
    assert headers["webhook-id"] == "id-1"


def test_a_changed_body_id_or_secret_is_not_verified():
    headers = Signer(SECRET).headers("id-1", DATA)
    for secret, data, changed in (
        (SECRET, DATA + b" ", {}),
        (SECRET, DATA, {"webhook-id": "id-2"}),
        (OTHER, DATA, {}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(data, headers | changed)


def test_each_of_two_secrets_verifies_during_a_change():
    headers = Signer(OTHER, SECRET).headers("id-1", DATA)
    Webhook(SECRET).verify(DATA, headers)
    Webhook(OTHER).verify(DATA, headers)


def test_each_attempt_has_the_time_of_the_attempt():
    now = time.time()
    clock = iter([now - 1000, now])
    signer = Signer(SECRET, clock=lambda: next(clock))
    old, new = signer.headers("id-1", DATA), signer.headers("id-1", DATA)
    Webhook(SECRET).verify(DATA, new)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(DATA, old)


@pytest.mark.parametrize("prefix", ["whsec_", ""])
@pytest.mark.parametrize("padding", ["", "="])
def test_prefix_and_padding_may_be_missing(prefix, padding):
    secret = prefix + base64.b64encode(b"k" * 32).decode().rstrip("=") + padding
    Webhook(secret).verify(DATA, Signer(secret).headers("id-1", DATA))


@pytest.mark.parametrize(
    "secret", ["", "canary!", "whsec_canary", "c2hvcnQ=", base64.b64encode(b"canary" * 20).decode()]
)
def test_a_secret_that_is_not_valid_is_named_and_not_shown(secret):
    with pytest.raises(ValueError, match="also must be 'whsec_'") as caught:
        Signer(SECRET, secret)
    assert "canary" not in str(caught.value)
    assert secret == "" or secret not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_repr_does_not_show_a_secret():
    assert repr(Signer(SECRET, OTHER)) == "<Signer: 2 secrets>"
