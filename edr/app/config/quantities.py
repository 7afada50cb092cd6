"""Numbers, sizes and durations of a configuration: ``5``, ``"512 KiB"``, ``"1h 30m"``."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import ValidationInfo

from edr.app.config.checked import Checked, checked, refuse

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
MINUTE, HOUR, DAY = 60, 3600, 86400

_SIZE_UNITS = {"TiB": TIB, "GiB": GIB, "MiB": MIB, "KiB": KIB, "B": 1}
_DURATION_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1}
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")
_DURATION = re.compile(r"\s*(?:[0-9]{1,15}(?:\.[0-9]{1,9})?\s*[A-Za-z]+\s*)+")
_DURATION_PART = re.compile(r"([0-9.]+)\s*([A-Za-z]+)")

UNLIMITED = "unlimited"
"""The text for no limit, where a key has a limit by default: TOML has no null."""


def _is_number(value: object) -> bool:
    return type(value) in {int, float}


def flag(value: object) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise refuse("true or false", value)
    return value


def whole_number(least: int, most: int) -> Checked:
    """Return the type of a whole number within a range."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise refuse(f"a whole number from {least:,} to {most:,}", value)
        return value

    return checked("number", check)


def number(least: float, most: float) -> Checked:
    """Return the type of a number within a range."""

    def check(value: Any) -> float:
        if not _is_number(value) or not least <= value <= most:
            raise refuse(f"a number from {least:g} to {most:g}", value)
        return float(value)

    return checked("number", check)


def byte_size(least: int, most: int = 1024 * TIB) -> Checked:
    """Return the type of a number of bytes: ``1048576``, ``"1 MiB"``."""

    def check(value: Any) -> int:
        found = _bytes_of(value)
        if not least <= found <= most:
            raise refuse(f"from {size_text(least)} to {size_text(most)}", value)
        return found

    return checked("size", check, size_text)


def _bytes_of(value: Any) -> int:
    expected = 'a size, such as "512 KiB" or a number of bytes'
    if type(value) is int:
        return value
    if not isinstance(value, str) or not (match := _SIZE.fullmatch(value)):
        raise refuse(expected, value)
    unit = match[2] or "B"
    if unit not in _SIZE_UNITS:
        advice = "; the units are B, KiB, MiB, GiB and TiB (KiB = 1024 B)"
        raise refuse(expected, value, advice)
    found = float(match[1]) * _SIZE_UNITS[unit] if "." in match[1] else None
    if found is None:
        return int(match[1]) * _SIZE_UNITS[unit]
    if not found.is_integer():
        raise refuse("a whole number of bytes", value)
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
            raise refuse(f"from {low} to {high}", value)
        return found

    return checked("duration", check, duration_text)


def _seconds_of(value: Any) -> float:
    expected = 'a duration, such as "1h 30m" or a number of seconds'
    if _is_number(value):
        # A number beyond the range of floats is beyond every limit too.
        return float(value) if abs(value) < 1e18 else math.inf  # noqa: PLR2004
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise refuse(expected, value)
    total = 0.0
    for amount, unit in _DURATION_PART.findall(value):
        if unit not in _DURATION_UNITS:
            raise refuse(expected, value, "; the units are s, m, h and d")
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


Flag = Annotated[bool, checked("boolean", flag)]
