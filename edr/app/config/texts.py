"""Texts of a configuration: names, choices, paths, modes, addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationInfo

from edr._util.text import is_encodable
from edr.app.config.checked import Checked, any_of, checked, refuse
from edr.errors import did_you_mean, kind_of, shown

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Control characters, which a text must not have."""
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s/]+):([0-9]{1,5})")
_MODE = re.compile(r"0?[0-7]{3}")

MAX_TEXT = 4096
"""Characters of a plain text: the longest path that Linux accepts."""


def plain_text(value: object) -> str:
    """Return text that is not empty and has no control characters."""
    if not isinstance(value, str) or not value:
        raise refuse("text that is not empty", value)
    if len(value) > MAX_TEXT:
        raise ValueError(f"must have at most {MAX_TEXT:,} characters, got {len(value):,}")
    if CONTROL.search(value) or not is_encodable(value):
        raise ValueError(f"must not have control characters, got {shown(value)}")
    return value


def choice(*options: str) -> Checked:
    """Return the type of a text out of a few."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            hint = did_you_mean(value, options) if isinstance(value, str) else ""
            raise refuse(any_of(options), value, hint)
        return value

    return checked(" \\| ".join(f'`"{option}"`' for option in options), check)


def choices(*options: str) -> Checked:
    """Return the type of an array of texts out of a few, each once."""
    one = choice(*options)

    def check(value: Any, info: ValidationInfo) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be an array of {any_of(options)}, got {kind_of(value)}")
        return tuple(dict.fromkeys(one.check(each, info) for each in value))

    return Checked(f"array of {one.form}", check)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be an array of names, got {kind_of(value)}")
    return tuple(dict.fromkeys(map(_name, value)))


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            "a name must have 1 to 63 characters: a-z first, then a-z, 0-9, _ and -, "
            f"got {shown(value) if isinstance(value, str) else kind_of(value)}"
        )
    return value


def path_of(value: object, info: ValidationInfo) -> Path:
    """Return a path, relative to the folder of the configuration."""
    path = Path(plain_text(value))
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


def _mode(value: object) -> int:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise refuse('the mode of a file as text, such as "0600"', value)
    return int(value, 8)


def _listen(value: object) -> str:
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[2]) < 65536:  # noqa: PLR2004 - ports have 16 bits
        raise refuse('HOST:PORT, such as "127.0.0.1:8490"', value)
    return match[0]


def _callable(value: object) -> str:
    if not isinstance(value, str) or not _CALLABLE.fullmatch(value):
        raise refuse('a function as "package.module:function"', value)
    return value


names: Checked = checked("array of names", _names)
Text = Annotated[str, checked("text", plain_text)]
Name = Annotated[str, checked("name", _name)]
FilePath = Annotated[Path, Checked("path", path_of)]
Mode = Annotated[int, checked("mode", _mode, lambda mode: f"{mode:04o}")]
Listen = Annotated[str, checked("host:port", _listen)]
CallablePath = Annotated[str, checked("package:function", _callable)]
