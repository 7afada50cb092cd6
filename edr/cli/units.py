"""Quantities in a few characters: ``41 s``, ``3d 4h``, ``412 MiB``."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return ``2 ms``, ``0.4 s``, ``41 s``, ``5m 03s``, ``3h 20m`` or ``3d 4h``."""
    if seconds < 0.1:  # noqa: PLR2004 - the form changes here
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR}h"


def size(number: float) -> str:
    """Return a number of bytes as ``512 B``, ``1.5 KiB`` or ``412 MiB``."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1000:  # noqa: PLR2004 - at most three digits
            break
        number /= 1024
        unit = larger
    digits = 0 if unit == "B" or number >= 10 else 1  # noqa: PLR2004
    return f"{number:.{digits}f} {unit}"


def counted(number: int, noun: str) -> str:
    """Return ``1 event`` or ``1,234 events``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
