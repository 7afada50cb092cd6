"""The plain values of a configuration: sizes, durations, names, paths, URLs, secrets, bindings.

Each type is a function that checks a value as TOML and JSON have it, and raises ``ValueError`` with
the message for the user. Pydantic's own types are not used, because their messages are written for
programmers, and because they accept ``"5"`` and ``1`` for a number and a flag.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import core_schema

from edr._util.text import is_encodable
from edr.app.config.faults import LocatedError, Location
from edr.app.config.secret import Secret
from edr.errors import did_you_mean, kind_of, shown
from edr.records import Binding

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
MINUTE, HOUR, DAY = 60, 3600, 86400

_SIZE_UNITS = {"TiB": TIB, "GiB": GIB, "MiB": MIB, "KiB": KIB, "B": 1}
_DURATION_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1}
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")
_DURATION = re.compile(r"\s*(?:[0-9]{1,15}(?:\.[0-9]{1,9})?\s*[A-Za-z]+\s*)+")
_DURATION_PART = re.compile(r"([0-9.]+)\s*([A-Za-z]+)")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s/]+):([0-9]{1,5})")
_MODE = re.compile(r"0?[0-7]{3}")

MAX_TEXT = 4096
"""Characters of a plain text: the longest path that Linux accepts."""

UNLIMITED = "unlimited"
"""The text for no limit, where a key has a limit by default: TOML has no null."""


@dataclass(frozen=True)
class Written:
    """Metadata of a field: its form in the file, for the documentation."""

    form: str


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Checked(Written):
    """Metadata of a field: how a value is read from a file, and how it is written into one."""

    check: Callable[[Any, ValidationInfo], Any]
    """Returns the value for the form in a file, or raises ``ValueError``."""
    write: Callable[[Any], Any] = _same
    """Returns the form in a file for a value: ``check`` returns an equal value for it."""

    def __get_pydantic_core_schema__(self, *_: object) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self.check)


@dataclass(frozen=True)
class Url(Checked):
    """Metadata of a field with a URL."""

    schemes: tuple[str, ...] = ()


def _checked(
    form: str, check: Callable[[Any], Any], write: Callable[[Any], Any] = _same
) -> Checked:
    return Checked(form, lambda value, _: check(value), write)


def _refuse(expected: str, value: object, advice: str = "") -> ValueError:
    got = shown(value) if isinstance(value, (str, int, float, bool)) else kind_of(value)
    return ValueError(f"must be {expected}, got {got}{advice}")


# Numbers


def _is_number(value: object) -> bool:
    return type(value) in {int, float}


def flag(value: object) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise _refuse("true or false", value)
    return value


def whole_number(least: int, most: int) -> Checked:
    """Return the type of a whole number within a range."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _refuse(f"a whole number from {least:,} to {most:,}", value)
        return value

    return _checked("number", check)


def number(least: float, most: float) -> Checked:
    """Return the type of a number within a range."""

    def check(value: Any) -> float:
        if not _is_number(value) or not least <= value <= most:
            raise _refuse(f"a number from {least:g} to {most:g}", value)
        return float(value)

    return _checked("number", check)


def byte_size(least: int, most: int = 1024 * TIB) -> Checked:
    """Return the type of a number of bytes: ``1048576``, ``"1 MiB"``."""

    def check(value: Any) -> int:
        found = _bytes_of(value)
        if not least <= found <= most:
            raise _refuse(f"from {size_text(least)} to {size_text(most)}", value)
        return found

    return _checked("size", check, size_text)


def _bytes_of(value: Any) -> int:
    expected = 'a size, such as "512 KiB" or a number of bytes'
    if type(value) is int:
        return value
    if not isinstance(value, str) or not (match := _SIZE.fullmatch(value)):
        raise _refuse(expected, value)
    unit = match[2] or "B"
    if unit not in _SIZE_UNITS:
        advice = "; the units are B, KiB, MiB, GiB and TiB (KiB = 1024 B)"
        raise _refuse(expected, value, advice)
    found = float(match[1]) * _SIZE_UNITS[unit] if "." in match[1] else None
    if found is None:
        return int(match[1]) * _SIZE_UNITS[unit]
    if not found.is_integer():
        raise _refuse("a whole number of bytes", value)
    return int(found)


def size_text(number: int) -> str | int:
    """Return a number of bytes as ``size`` reads it, in the largest unit that divides it."""
    for unit, factor in _SIZE_UNITS.items():
        if factor > 1 and number and number % factor == 0:
            return f"{number // factor} {unit}"
    return number


def duration(least: float, most: float = 3650 * DAY) -> Checked:
    """Return the type of a time in seconds: ``0.5``, ``"30s"``, ``"1h 30m"``, ``"7d"``."""

    def check(value: Any) -> float:
        found = _seconds_of(value)
        if not least <= found <= most:
            low, high = (f"{each:g} s" for each in (least, most))
            raise _refuse(f"from {low} to {high}", value)
        return found

    return _checked("duration", check, duration_text)


def _seconds_of(value: Any) -> float:
    expected = 'a duration, such as "1h 30m" or a number of seconds'
    if _is_number(value):
        # A number beyond the range of floats is beyond every limit too.
        return float(value) if abs(value) < 1e18 else math.inf  # noqa: PLR2004
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise _refuse(expected, value)
    total = 0.0
    for amount, unit in _DURATION_PART.findall(value):
        if unit not in _DURATION_UNITS:
            raise _refuse(expected, value, "; the units are s, m, h and d")
        total += float(amount) * _DURATION_UNITS[unit]
    return total


def duration_text(seconds: float) -> str | float:
    """Return seconds as ``duration`` reads them: a number, or text from a minute on."""
    if seconds != int(seconds):
        return seconds
    for unit, factor in _DURATION_UNITS.items():
        if factor > 1 and seconds and seconds % factor == 0:
            return f"{int(seconds) // factor}{unit}"
    return int(seconds)


def or_unlimited(inner: Checked) -> Checked:
    """Return the type of ``inner`` that returns None for the text ``unlimited``."""

    def check(value: object, info: ValidationInfo) -> object:
        return None if value is None or value == UNLIMITED else inner.check(value, info)

    def write(value: object) -> object:
        return UNLIMITED if value is None else inner.write(value)

    return Checked(f'{inner.form} or `"{UNLIMITED}"`', check, write)


# Text


def plain_text(value: object) -> str:
    """Return text that is not empty and has no control characters."""
    if not isinstance(value, str) or not value:
        raise _refuse("text that is not empty", value)
    if len(value) > MAX_TEXT:
        raise ValueError(f"must have at most {MAX_TEXT:,} characters, got {len(value):,}")
    if _CONTROL.search(value) or not is_encodable(value):
        raise ValueError(f"must not have control characters, got {shown(value)}")
    return value


def choice(*options: str) -> Checked:
    """Return the type of a text out of a few."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            hint = did_you_mean(value, options) if isinstance(value, str) else ""
            raise _refuse(any_of(options), value, hint)
        return value

    return _checked(" \\| ".join(f'`"{option}"`' for option in options), check)


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


def any_of(options: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            "a name must have 1 to 63 characters: a-z first, then a-z, 0-9, _ and -, "
            f"got {shown(value) if isinstance(value, str) else kind_of(value)}"
        )
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    path = Path(plain_text(value))
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


def _mode(value: object) -> int:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise _refuse('the mode of a file as text, such as "0600"', value)
    return int(value, 8)


def _listen(value: object) -> str:
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[2]) < 65536:  # noqa: PLR2004 - ports have 16 bits
        raise _refuse('HOST:PORT, such as "127.0.0.1:8490"', value)
    return match[0]


def _callable(value: object) -> str:
    if not isinstance(value, str) or not _CALLABLE.fullmatch(value):
        raise _refuse('a function as "package.module:function"', value)
    return value


# Secrets. No message shows a value that may be one.


def secret(value: object, info: ValidationInfo) -> Secret:
    """Return a secret of ``{env = "NAME"}`` or ``{file = "PATH"}``."""
    if isinstance(value, Secret):
        return value
    expected = 'must be { env = "NAME" } or { file = "PATH" }'
    if not isinstance(value, Mapping):
        raise ValueError(f"{expected}, got {kind_of(value)}; the file has no secrets itself")
    if len(value) != 1 or not value.keys() <= {"env", "file"}:
        raise ValueError(f"{expected}, with one of the two keys")
    if "file" in value:
        return Secret(file=_path(value["file"], info))
    if not isinstance(value["env"], str) or not _VARIABLE.fullmatch(value["env"]):
        raise ValueError("env must be the name of an environment variable, such as EDR_URL")
    return Secret(env=value["env"])


def check_url(text: str, schemes: Sequence[str]) -> str | None:
    """Return the fault of a URL, without any part of it except the scheme."""
    example = any_of([f"{each}://" for each in schemes])
    scheme = text.partition("://")[0].lower()
    if "://" not in text:
        return f"must be a URL that starts with {example}"
    if scheme not in schemes:
        hint = did_you_mean(scheme, schemes) if scheme.isalpha() else ""
        return f"must be a URL that starts with {example}{hint}"
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host or _CONTROL.search(text) or not is_encodable(text) or " " in text:
        return f"must be a valid URL that starts with {example}, with a host"
    return None


def url_with(*schemes: str) -> Checked:
    """Return the type of a URL: text without a password, or a secret."""

    def check(value: object, info: ValidationInfo) -> str | Secret:
        if not isinstance(value, str):
            return secret(value, info)
        if fault := check_url(value, schemes):
            raise ValueError(fault)
        if "@" in value:
            raise ValueError(
                "must not have a user name or password in the file; put the whole URL into an "
                'environment variable or a file: { env = "NAME" } or { file = "PATH" }'
            )
        return value

    return Url("URL or secret", check, schemes=schemes)


SENSITIVE_HEADERS = {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"}
"""Headers whose values are always secrets."""


def _headers(value: object, info: ValidationInfo) -> dict[str, str | Secret]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table of headers, got {kind_of(value)}")
    found: dict[str, str | Secret] = {}
    names: dict[str, str] = {}
    faults: list[tuple[Location, str]] = []
    for name, each in value.items():
        if (other := names.setdefault(name.lower(), name)) != name:
            faults.append(((name,), f"must be given once; {other} is the same header"))
        try:
            found[name] = _header(name, each, info)
        except ValueError as exc:
            faults.append(((name,), str(exc)))
    if faults:
        raise LocatedError(faults)
    return found


def _header(name: str, value: object, info: ValidationInfo) -> str | Secret:
    if not _HEADER.fullmatch(name):
        raise _refuse("the name of an HTTP header", name)
    if not isinstance(value, str):
        return secret(value, info)
    if name.lower() in SENSITIVE_HEADERS:
        raise ValueError('must be a secret: { env = "NAME" } or { file = "PATH" }')
    if _CONTROL.search(value) or not is_encodable(value) or len(value) > MAX_TEXT:
        raise ValueError("must be one line of text without control characters")
    return value


# Bindings


def _bindings(*, at_least_one: bool) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be an array of bindings, got {kind_of(value)}")
        if at_least_one and not value:
            raise ValueError("must have at least one binding; [{}] is the default one")
        return tuple(map(_with_parsed_body, value))

    return check


def _with_parsed_body(binding: object) -> object:
    """Accept the body pattern as JSON text: TOML has no null, which a pattern may contain."""
    if not isinstance(binding, Mapping) or not isinstance(binding.get("body"), str):
        return binding
    try:
        return {**binding, "body": json.loads(binding["body"])}
    except (ValueError, RecursionError):
        raise ValueError("the body of a binding must be a table or valid JSON text") from None


def _received(value: object, inner: ValidatorFunctionWrapHandler) -> object:
    return value if value == "wanted" else inner(_bindings(at_least_one=False)(value))


names: Checked = _checked("array of names", _names)
Flag = Annotated[bool, _checked("boolean", flag)]
Text = Annotated[str, _checked("text", plain_text)]
Name = Annotated[str, _checked("name", _name)]
FilePath = Annotated[Path, Checked("path", _path)]
Mode = Annotated[int, _checked("mode", _mode, lambda mode: f"{mode:04o}")]
Listen = Annotated[str, _checked("host:port", _listen)]
CallablePath = Annotated[str, _checked("package:function", _callable)]
SecretValue = Annotated[Secret, Checked("secret", secret)]
Headers = Annotated[dict[str, str | Secret], Checked("table of texts and secrets", _headers)]
Bindings = Annotated[
    tuple[Binding, ...], BeforeValidator(_bindings(at_least_one=True)), Written("bindings")
]
OptionalBindings = Annotated[
    tuple[Binding, ...], BeforeValidator(_bindings(at_least_one=False)), Written("bindings")
]
if TYPE_CHECKING:
    Received: TypeAlias = Literal["wanted"] | tuple[Binding, ...]
else:  # pydantic would check each alternative of a union, and report the faults of both
    Received = Annotated[
        tuple[Binding, ...], WrapValidator(_received), Written('bindings or `"wanted"`')
    ]
