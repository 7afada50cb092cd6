"""The operands of a body pattern's elements: each read and checked, or refused with its path."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, NoReturn, TypeAlias

import orjson

from edr._util.text import is_encodable
from edr.errors import InvalidBindingError, join_path, kind_of, shown
from edr.patterns.addresses import Block, address_of
from edr.patterns.scalar_set import Number, Range, Wildcard

Path: TypeAlias = tuple[str | int, ...]

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""The integers that a body can hold. Larger ones would match nothing, and one can choose them so
that they all have one hash: 10,000 multiples of 2**61 - 1 took a dict 1.3 s."""

_COMPARISONS = ("=", "<", "<=", ">", ">=")
_PARTS_OF_WILDCARD = re.compile(r"[^*\\]+|\\.?|\*+", re.DOTALL)


def affix_of(operand: object, path: Path, longest: int) -> str:
    """Return a prefix, a suffix or the text of a wildcard."""
    text = text_of(operand, path)
    if len(text) > longest:
        refuse(
            path, f"has {len(text):,} characters, more than Limits.max_affix_length = {longest:,}"
        )
    return text


def wildcard_of(text: str, path: Path) -> Wildcard:
    """Return a wildcard: the literals around its ``*``, their escapes resolved."""
    pieces: list[list[str]] = [[]]
    for part in _PARTS_OF_WILDCARD.findall(text):
        if part == "*":
            pieces.append([])
        elif part[0] == "*":
            refuse(path, "has ** in it: one * is any run of characters already")
        elif part[0] == "\\":
            if part[1:] not in {"*", "\\"}:
                refuse(path, f"has the invalid escape {part!r}; there are \\* and \\\\")
            pieces[-1].append(part[1:])
        else:
            pieces[-1].append(part)
    return Wildcard(tuple(map("".join, pieces)))


def comparison_of(operand: object, path: Path) -> str:
    """Return a comparison operator."""
    if not isinstance(operand, str):
        refuse(path, f"must be one of =, <, <=, > and >=, got {kind_of(operand)}")
    if operand not in _COMPARISONS:
        refuse(path, f"must be one of =, <, <=, > and >=, got {shown(operand)}")
    return str.__str__(operand)


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


def block_of(text: str, path: Path) -> Block:
    """Return a block of IP addresses; the bits of a host are masked."""
    address, _, length = text.partition("/")
    packed = address_of(address)
    if packed is not None and re.fullmatch("0|[1-9][0-9]{0,2}", length):
        host_bits = 8 * len(packed) - int(length)
        if host_bits >= 0:
            first = int.from_bytes(packed, "big") >> host_bits << host_bits
            return Block(first.to_bytes(len(packed), "big"), int(length))
    return refuse(path, "must be a block of IP addresses, such as 10.0.0.0/8 or 2001:db8::/32")


def number_of(operand: object, path: Path) -> Number:
    """Return a number that a body can hold, as a plain ``int`` or ``float``."""
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        refuse(path, f"must be a number, got {kind_of(operand)}")
    if isinstance(operand, int):
        if not INT_MIN <= operand <= INT_MAX:
            refuse(path, "is an integer outside -2**63 ... 2**64-1, which no body can hold")
        return int(operand)
    if not isfinite(operand):
        refuse(path, "must be a finite number")
    return float(operand)


def text_of(operand: object, path: Path) -> str:
    """Return a string, as a plain ``str`` that can be encoded."""
    if not isinstance(operand, str):
        refuse(path, f"must be a string, got {kind_of(operand)}")
    text = str.__str__(operand)  # an enum's value; str() would give its name
    if not is_encodable(text):
        refuse(path, "holds a lone surrogate, which no JSON text can")
    return text


def name_of(key: object, path: Path) -> str:
    """Return the name of a field, or of an operator."""
    if not isinstance(key, str):
        refuse(path, f"must have strings for field names, got {kind_of(key)}")
    return text_of(key, path)


def only_member(element: dict[object, object], path: Path) -> tuple[str, object]:
    """Return the operator and the operand of an element."""
    if len(element) != 1:
        refuse(path, f"must have one operator, got {len(element)}")
    ((operator, operand),) = element.items()
    return name_of(operator, path), operand


def members_of(operand: object, path: Path, most: int) -> list[tuple[object, Path]]:
    """Return the members of a list with their paths; those of a list of one for anything else."""
    if not isinstance(operand, list | tuple):
        return [(operand, path)]
    check_length(operand, path, most)
    return [(member, (*path, index)) for index, member in enumerate(operand)]


def check_length(array: list[object] | tuple[object, ...], path: Path, most: int) -> None:
    """Refuse an array without elements, or with too many."""
    if not array:
        refuse(path, "must have an element: an empty array matches nothing")
    if len(array) > most:
        refuse(path, f"has {len(array):,} elements, more than Limits.max_elements = {most:,}")


def canonical(document: object) -> str:
    """Return checked JSON values as text that is the same for ``5``, ``5.0`` and ``5e0``."""
    return orjson.dumps(_with_whole_numbers(document)).decode()


def _with_whole_numbers(value: Any) -> Any:
    """Return JSON values in which a float that is a whole number of 64 bits is an integer."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and INT_MIN <= value <= INT_MAX else value
    if isinstance(value, dict):
        return {key: _with_whole_numbers(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole_numbers(member) for member in value]
    return value


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the error of a fault at a path."""
    raise InvalidBindingError(reason, join_path(*path))
