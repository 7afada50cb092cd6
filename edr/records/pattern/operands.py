"""The operands of a body pattern's elements: each read and checked, or refused with its path."""

from __future__ import annotations

import ipaddress
import json
from math import isfinite
from typing import NoReturn, TypeAlias

from edr.errors import InvalidBinding, join_path, kind_of
from edr.records.pattern.limits import MAX_AFFIX, MAX_ELEMENTS, MAX_INTEGER, MAX_WILDCARDS
from edr.records.pattern.values import Network, Number, Range
from edr.records.text import is_encodable

Path: TypeAlias = tuple[str | int, ...]


def affix(operand: object, path: Path) -> str:
    """Return a prefix or suffix."""
    text = text_of(operand, path)
    if len(text) > MAX_AFFIX:
        refuse(path, f"is longer than MAX_AFFIX = {MAX_AFFIX} characters")
    return text


def pieces(wildcard: str, path: Path) -> tuple[str, ...]:
    """Return the literals around the ``*`` of a wildcard, their escapes resolved."""
    pieces = [""]
    characters = iter(wildcard)
    previous = ""
    for character in characters:
        if character == "*":
            if previous == "*":
                refuse(path, "has ** in it: one * is any run of characters already")
            pieces.append("")
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in {"*", "\\"}:
                refuse(path, f"has the invalid escape {character + escaped!r}")
            pieces[-1] += escaped
        else:
            pieces[-1] += character
        previous = character
    if len(pieces) > MAX_WILDCARDS + 1:
        refuse(path, f"has more than MAX_WILDCARDS = {MAX_WILDCARDS} wildcards")
    return tuple(pieces)


def comparison(operand: object, path: Path) -> str:
    """Return a comparison operator."""
    if operand not in ("=", "<", "<=", ">", ">="):
        refuse(path, f"must be one of =, <, <=, > and >=, not {kind_of(operand)}")
    return str(operand)


def range_of(bounds: list[tuple[str, Number]], path: Path) -> Range:
    """Return the numbers within one or two bounds."""
    if len(bounds) == 1:
        ((operator, bound),) = bounds
        if operator in {">", ">="}:
            return Range(lower=bound, with_lower=operator == ">=")
        return Range(upper=bound, with_upper=operator == "<=")
    (lower_operator, lower), (upper_operator, upper) = bounds
    if lower_operator not in {">", ">="}:
        refuse((*path, 0), "must be > or >= where two bounds are given")
    if upper_operator not in {"<", "<="}:
        refuse((*path, 2), "must be < or <= as the second of two bounds")
    if not lower < upper:
        refuse(path, "must have a lower bound that is less than the upper one")
    return Range(lower, upper, with_lower=lower_operator == ">=", with_upper=upper_operator == "<=")


def network(text: str, path: Path) -> Network:
    """Return a block of addresses."""
    address, slash, length = text.partition("/")
    # ip_network reads more than CIDR: addresses without a length, net masks, zones.
    if slash and length.isascii() and length.isdecimal() and "%" not in address:
        try:
            return ipaddress.ip_network(text, strict=False)
        except ValueError:
            pass
    return refuse(path, "must be a block of IP addresses, such as 10.0.0.0/8 or 2001:db8::/32")


def number(operand: object, path: Path) -> Number:
    """Return a finite number, as a plain ``int`` or ``float``."""
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        refuse(path, f"must be a number, not {kind_of(operand)}")
    if isinstance(operand, int):
        if abs(operand) >= MAX_INTEGER:
            refuse(path, "is an integer beyond MAX_INTEGER = 2**1024")
        return int(operand)
    if not isfinite(operand):
        refuse(path, "must be a finite number")
    return float(operand)


def text_of(operand: object, path: Path) -> str:
    """Return a string, as a plain ``str`` that can be encoded."""
    if not isinstance(operand, str):
        refuse(path, f"must be a string, not {kind_of(operand)}")
    text = str.__str__(operand)  # an enum's value; str() would give its name
    if not is_encodable(text):
        refuse(path, "holds a lone surrogate, which no JSON text can")
    return text


def field_name(key: object, path: Path) -> str:
    """Return the name of a field."""
    if not isinstance(key, str):
        refuse(path, f"must have strings for field names, not {kind_of(key)}")
    return text_of(key, path)


def only_member(element: dict[object, object], path: Path) -> tuple[str, object]:
    """Return the operator and the operand of an element."""
    if len(element) != 1:
        refuse(path, f"must have one operator, not {len(element)}")
    ((operator, operand),) = element.items()
    return field_name(operator, path), operand


def members_of(operand: object, path: Path) -> list[tuple[object, Path]]:
    """Return the members of a list with their paths; those of a list of one for anything else."""
    if not isinstance(operand, list | tuple):
        return [(operand, path)]
    check_length(operand, path)
    return [(member, (*path, index)) for index, member in enumerate(operand)]


def check_length(array: list[object] | tuple[object, ...], path: Path) -> None:
    """Refuse an array without elements, or with too many."""
    if not array:
        refuse(path, "must have an element: an empty array matches nothing")
    if len(array) > MAX_ELEMENTS:
        refuse(path, f"has more than MAX_ELEMENTS = {MAX_ELEMENTS} elements")


def canonical(document: object) -> str:
    """Return checked JSON values as text that is the same for ``5``, ``5.0`` and ``5e0``."""

    def by_value(text: str) -> Number:
        number = float(text)
        return int(number) if number.is_integer() else number

    return json.dumps(json.loads(json.dumps(document), parse_float=by_value))


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the error of a fault at a path."""
    raise InvalidBinding(reason, join_path(*path))
