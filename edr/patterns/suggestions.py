"""Suggestions for unknown operators, such as those of other query languages."""

from __future__ import annotations

from typing import Any, NoReturn

from edr.errors import did_you_mean, shown
from edr.patterns.field_matcher import OR
from edr.patterns.operands import Path, refuse

_MEANT = {
    "contains": '{"wildcard": "*text*"}',
    "includes": '{"wildcard": "*text*"}',
    "like": '{"wildcard": "*text*"}',
    "regex": '{"wildcard": "begin*end"}; regular expressions are not supported',
    "regexp": '{"wildcard": "begin*end"}; regular expressions are not supported',
    "matches": '{"wildcard": "begin*end"}; regular expressions are not supported',
    "pattern": '{"wildcard": "begin*end"}; regular expressions are not supported',
    "glob": '{"wildcard": "begin*end"}',
    "startswith": '{"prefix": "text"}',
    "beginswith": '{"prefix": "text"}',
    "endswith": '{"suffix": "text"}',
    "equals": '"text" or {"exactly": "text"}',
    "eq": '"text" or {"exactly": "text"}',
    "is": '"text" or {"exactly": "text"}',
    "in": 'the values themselves: ["a", "b"]',
    "not": '{"anything-but": "text"}',
    "ne": '{"anything-but": "text"}',
    "notin": '{"anything-but": ["a", "b"]}',
    "ignorecase": '{"equals-ignore-case": "text"}',
    "iequals": '{"equals-ignore-case": "text"}',
    "gt": '{"numeric": [">", 5]}',
    "gte": '{"numeric": [">=", 5]}',
    "lt": '{"numeric": ["<", 5]}',
    "lte": '{"numeric": ["<=", 5]}',
    "min": '{"numeric": [">=", 5]}',
    "max": '{"numeric": ["<=", 5]}',
    "between": '{"numeric": [">=", 1, "<=", 5]}',
    "range": '{"numeric": [">=", 1, "<=", 5]}',
    "ip": '{"cidr": "10.0.0.0/8"}',
    "ipaddress": '{"cidr": "10.0.0.0/8"}',
    "subnet": '{"cidr": "10.0.0.0/8"}',
    "missing": '{"exists": false}',
}
"""Operators of other languages, in lower case and letters only -> the operator to use here."""


def refuse_operator(operator: str, path: Path, known: dict[str, Any]) -> NoReturn:
    """Refuse an unknown operator, with a suggestion."""
    *_, name, _ = path
    if isinstance(name, str) and name.startswith("$"):
        refuse(
            path,
            f"has the unknown operator {shown(operator)}; if {shown(name)} is meant as "
            f"an operator: all fields must match anyway, and {OR} is the only operator next to "
            "fields",
        )
    word = "".join(filter(str.isalnum, operator[:40])).lower()
    meant = f"; write {_MEANT[word]}" if word in _MEANT else did_you_mean(operator, known)
    there_are = ", ".join(sorted(known))
    refuse(path, f"has the unknown operator {shown(operator)}{meant}; there are {there_are}")
