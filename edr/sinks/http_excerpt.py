"""``Excerpts``: the begin of an error page for a log line, unless it repeats a secret of the sink.

A receiver explains a refusal in the body of its response, and an operator needs that. But many
receivers repeat the URL or the headers of the request there, and these contain secrets. So a body
that has a secret, or the first characters of one, is not shown at all. It is shown on one line.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

MAX_LENGTH = 200
"""Characters of a body that are shown, at most."""

SHOWN_OF_SECRET = 8
"""Characters at the begin of a secret that count as the secret. Receivers shorten what they
repeat."""

MIN_SECRET = 4
"""Characters of a secret, at least. Shorter text would be found in any body."""

MIN_PATH_SECRET = 12
"""Characters of a part of a path that may be a secret, at least; others are words."""

_SEPARATORS = re.compile(r"[\s/?&=;,:@]+")


class Excerpts:
    """Excerpts of the bodies of responses.

    Args:
        url: the URL of the requests.
        headers: the headers that the user has given.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        found = {*_secrets_of_url(url), *_secrets_of_headers(headers.values())}
        self._secrets = {each[:SHOWN_OF_SECRET] for each in found}

    def of(self, body: bytes) -> str:
        """Return the begin of ``body`` as one printable line; empty if a secret is in it."""
        text = body.decode("utf-8", "replace")
        if any(secret in form for secret in self._secrets for form in (text, unquote(text))):
            return ""
        line = " ".join("".join(c if c.isprintable() else " " for c in text[:4000]).split())
        return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}…"


def _secrets_of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    user_info = parts.netloc.rpartition("@")[0]
    if user_info:
        yield base64.b64encode(unquote(user_info).encode()).decode()
    values = "&".join(each.partition("=")[2] or each for each in parts.query.split("&"))
    for text, least in (
        (user_info, MIN_SECRET),
        (values, MIN_SECRET),
        (parts.path, MIN_PATH_SECRET),
    ):
        for form in (text, unquote(text)):
            yield from (each for each in _SEPARATORS.split(form) if len(each) >= least)


def _secrets_of_headers(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        pieces = [each for each in _SEPARATORS.split(value) if len(each) >= SHOWN_OF_SECRET]
        yield from pieces
        if not pieces and len(value) >= MIN_SECRET:
            yield value
