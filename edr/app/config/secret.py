"""``Secret``: a value that the configuration names and does not contain; ``Secrets`` reads them.

A secret is the value of an environment variable or the content of a file. It is read at the start
and at each reload, so that a rotated secret is used without a change of the configuration. No
``repr``, error or converted configuration contains the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edr.errors import EdrError

MAX_SECRET = 64 * 1024
"""Bytes of a file with a secret: more is a wrong path, and certificates have a few thousand."""


class SecretError(EdrError):
    """A secret cannot be read. The text names its variable or file, and never a value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret: the value of an environment variable, or the text of a file without its line end.

    ``given`` is a value of a Kazoo document, which has no other form. It is never printed either.
    """

    env: str | None = None
    file: Path | None = None
    given: str | None = field(default=None, repr=False)

    def read(self, environ: Mapping[str, str] | None = None) -> str:
        """Return the value.

        Raises:
            SecretError: the variable is not set, or the file cannot be read, or it is empty.
        """
        if self.given is not None:
            return self.given
        if self.env is not None:
            value = (os.environ if environ is None else environ).get(self.env, "")
            if not value:
                raise SecretError(f"the environment variable {self.env} must be set and not empty")
            return value
        assert self.file is not None
        return _text_of(self.file)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_SECRET + 1)
    except OSError as exc:
        raise SecretError(f"the file {file} cannot be read: {exc.strerror or exc}") from None
    if len(data) > MAX_SECRET:
        raise SecretError(f"the file {file} must have at most 64 KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
        fault = "must be UTF-8 text"
    else:
        fault = "must not be empty"
    # Raised here: the error of the decoder has the data.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretError(f"the file {file} {fault}")
    return text


def variable_of(path: tuple[str, ...]) -> str:
    """Return the environment variable for a secret that is given in a Kazoo document."""
    return re.sub(r"[^A-Z0-9]+", "_", "_".join(("edr", *path)).upper())


class Secrets:
    """The values of all secrets of a configuration, each read once.

    Args:
        environ: the environment variables; by default those of the process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._values: dict[Secret, str] = {}

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._values)}>"

    def text(self, value: str | Secret) -> str:
        """Return plain text as it is, and the value of a secret.

        Raises:
            SecretError: it cannot be read.
        """
        if isinstance(value, str):
            return value
        if value not in self._values:
            self._values[value] = value.read(self._environ)
        return self._values[value]

    def of(self, part: BaseModel) -> tuple[str, ...]:
        """Return the values of all secrets of a part, to compare them with those of a reload.

        Raises:
            SecretError: one cannot be read.
        """
        return tuple(self.text(secret) for _, secret in secrets_in(part))


def secrets_in(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Secret]]:
    """Yield each secret in a part of a configuration, with its place."""
    if isinstance(value, Secret):
        yield place, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name), (*place, name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from secrets_in(each, (*place, name))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from secrets_in(each, (*place, index))
