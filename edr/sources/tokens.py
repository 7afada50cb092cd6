"""``Tokens``: the bearer tokens that senders and readers may use, from a file of their hashes.

The file has one JSON object on each line::

    {"sha256": "9f86…", "account": "acme", "rights": ["emit"], "expires": "2027-01-01T00:00:00Z"}

``account`` and ``expires`` may be left out. The file has hashes only, so a copy of it gives no
access. Tokens are random and long, so a plain SHA-256 is enough; a slow hash would cost each
request. A changed file is read again at the next request. If it has a fault then, the tokens that
were read before stay valid, and the fault is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from edr._util.log import RateLimitedLog
from edr.errors import EdrError, did_you_mean, kind_of, shown

RIGHTS = ("emit", "metrics", "watch", "watch_everything")
"""The rights that a token can have: to send events, to read metrics, and to receive events by the
web gateway, those of its account or all."""

MAX_TOKEN = 1024
"""Characters of a token in a request. The hash of a longer one would cost time."""

_FIELDS = ("sha256", "account", "rights", "expires")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)


class TokensError(EdrError):
    """The file of tokens cannot be used.

    Attributes:
        path: the file.
        line: the line with the fault; ``None`` if it is the whole file.
        reason: the fault.
    """

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path: Path = path
        self.line: int | None = line
        self.reason: str = reason

    def __str__(self) -> str:
        place = "" if self.line is None else f", line {self.line}"
        return f"{self.path}{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Token:
    """The rights of one token. It does not contain the token."""

    sha256: str
    account: str | None
    """Only for this account and the accounts below it; ``None`` for all."""
    rights: frozenset[str]
    expires: datetime | None


class Tokens:
    """The tokens of a file. Use it in one thread.

    Args:
        path: the file. Only its owner, this user or root, may write to it.
        clock: returns the current time, with a UTC offset.

    Raises:
        TokensError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = Path(path)
        self._clock = clock
        self._log = RateLimitedLog(interval=30.0)
        self._version: object = None
        self._tokens: tuple[tuple[bytes, Token], ...] = ()
        self.reload()

    def __len__(self) -> int:
        return len(self._tokens)

    def reload(self) -> None:
        """Read the file now.

        Raises:
            TokensError: the file cannot be used; the tokens stay as they were.
        """
        version = self._version_of_file()
        self._version = version
        self._tokens = tuple(
            [(bytes.fromhex(token.sha256), token) for token in read_tokens(self._path)]
        )

    def find(self, token: str) -> Token | None:
        """Return the rights of ``token``; ``None`` if it is unknown or has expired.

        The time of the call does not depend on how much of a hash is right.
        """
        self._reload_if_changed()
        given = hashlib.sha256(token[:MAX_TOKEN].encode("utf-8", "surrogatepass")).digest()
        found: Token | None = None
        for digest, each in self._tokens:  # all of them: no early end
            if hmac.compare_digest(digest, given):
                found = each
        if len(token) > MAX_TOKEN or found is None:
            return None
        return None if found.expires is not None and found.expires <= self._clock() else found

    def find_bearer(self, authorization: str) -> Token | None:
        """Return the rights of the token in the value of an ``Authorization`` header."""
        match = _BEARER.fullmatch(authorization.strip())
        return None if match is None else self.find(match[1])

    def _reload_if_changed(self) -> None:
        try:
            if self._version_of_file() != self._version:
                self.reload()
        except TokensError as exc:
            self._log.log(
                logging.ERROR,
                "tokens",
                "the changed file of tokens was not read, earlier tokens stay valid: %s",
                exc,
            )

    def _version_of_file(self) -> object:
        try:
            status = self._path.stat()
        except OSError as exc:
            raise TokensError(self._path, None, f"cannot be read ({exc.strerror})") from exc
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens of a file.

    Raises:
        TokensError: the file cannot be read, others may write to it, or a line is not a token.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except OSError as exc:
        raise TokensError(path, None, f"cannot be read ({exc.strerror})") from exc
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = "must be writable by this user or root only; run: chmod go-w"
        raise TokensError(path, None, f"{reason} {path}")
    tokens: dict[str, Token] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                token = _token_of(line)
            except ValueError as exc:
                raise TokensError(path, number, str(exc)) from None
            if token.sha256 in tokens:
                raise TokensError(path, number, "sha256: the token occurs twice")
            tokens[token.sha256] = token
    return list(tokens.values())


def _token_of(line: bytes) -> Token:
    """Return the token of a line. Messages of a ``ValueError`` do not quote a hash or a token."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("must be a JSON object") from None
    if not isinstance(document, dict):
        raise ValueError(f"must be a JSON object, got {kind_of(document)}")
    for name in document:
        if name not in _FIELDS:
            raise ValueError(f"unknown key {shown(name)}{did_you_mean(name, _FIELDS)}")
    sha256, account = document.get("sha256"), document.get("account")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError("sha256: must be 64 lower-case hex digits")
    if account is not None and (not isinstance(account, str) or not account):
        raise ValueError("account: must be a non-empty string")
    rights = _rights_of(document)
    if account is None and "watch" in rights:
        raise ValueError(
            "account: must be given for the right watch; watch_everything shows every event"
        )
    return Token(sha256, account, rights, _time_of(document.get("expires")))


def _rights_of(document: dict[str, Any]) -> frozenset[str]:
    rights = document.get("rights")
    if not isinstance(rights, list) or not rights:
        raise ValueError(f"rights: must be an array of {_listed(RIGHTS)}")
    for right in rights:
        if right not in RIGHTS:
            hint = did_you_mean(right, RIGHTS) if isinstance(right, str) else ""
            raise ValueError(f"rights: must be {_listed(RIGHTS)}, got {shown(right)}{hint}")
    return frozenset(rights)


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]])


def _time_of(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"expires: must be a time with a UTC offset, such as 2027-01-01T00:00:00Z, "
            f"got {shown(text)}"
        )
    return time
