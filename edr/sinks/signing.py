"""``Signer``: signatures of requests as Standard Webhooks defines them.

A receiver verifies that a request comes from the owner of the secret, was not changed, and is at
most five minutes old. Each attempt has a new timestamp and signature, because a retry may be made
days later. The id stays, so a receiver recognizes a request that it has processed.

To change the secret without a loss, sign with both for a time: ``also`` is the second one. A
receiver accepts a request if one of the signatures is valid.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable

PREFIX = "whsec_"
MIN_KEY, MAX_KEY = 24, 64
"""Bytes of a secret, as the specification demands."""


class Signer:
    """Signs the bodies of requests.

    Args:
        secret: ``whsec_`` and the base64 form of 24 to 64 random bytes. The prefix may be missing.
        also: a second secret, during a change.
        clock: returns the Unix time in seconds.

    Raises:
        ValueError: a secret is not valid. The message does not show it.
    """

    def __init__(
        self, secret: str, also: str | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = [_key_of(secret, "secret")]
        if also is not None:
            self._keys.append(_key_of(also, "also"))
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Signer: {len(self._keys)} secrets>"

    def headers(self, message_id: str, data: bytes) -> dict[str, str]:
        """Return the headers of one attempt: the id, the present time, and the signatures."""
        timestamp = str(int(self._clock()))
        message = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), data)
        signatures = (hmac.digest(key, message, hashlib.sha256) for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(
                f"v1,{base64.b64encode(each).decode()}" for each in signatures
            ),
        }


def _key_of(secret: str, name: str) -> bytes:
    key = _decoded(secret.strip().removeprefix(PREFIX))
    # Raised here: the error of the decoder is not chained, and no part of the secret is shown.
    if key is None or not MIN_KEY <= len(key) <= MAX_KEY:
        got = "text that is not base64" if key is None else f"{len(key)} bytes"
        raise ValueError(
            f"{name} must be {PREFIX!r} and the base64 form of {MIN_KEY} to {MAX_KEY} bytes, "
            f"got {got}; make one with: echo whsec_$(openssl rand -base64 32)"
        )
    return key


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
