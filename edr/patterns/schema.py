"""The JSON Schema of body patterns, for editors, forms and stores of bindings.

It is as strict as a schema can be.
"""

from __future__ import annotations

from typing import Any

from edr.patterns.field_matcher import OR
from edr.patterns.limits import DEFAULT_LIMITS

_PREFIX = "edr_pattern_"


def pattern_json_schema(definitions: str = "#/$defs/") -> dict[str, Any]:
    """Return a JSON Schema (2020-12) of what ``Pattern`` accepts; a new one each time.

    Each accepted document is valid against it. A valid document may still be refused: ``Pattern``
    also checks the order of two bounds, a field inside and outside of one ``$or``, addresses, and
    the limits on a whole pattern.

    Args:
        definitions: the place of ``$defs`` in the schema that will contain this one. The names of
            the definitions begin with ``edr_pattern_``.
    """

    def ref(name: str) -> dict[str, Any]:
        return {"$ref": definitions + _PREFIX + name}

    strings: dict[str, Any] = {"type": "string"}
    affix = {"type": "string", "maxLength": DEFAULT_LIMITS.max_affix_length}
    affix_any_case = {"anyOf": [affix, _operator("equals-ignore-case", affix)]}
    # Characters other than * and \, an escaped one of them, or a * that no other follows.
    literal = r"(?:[^*\\]|\\[*\\])"
    wildcard = {
        "type": "string",
        "pattern": rf"^{literal}*(?:\*{literal}+)*\*?$",
        "maxLength": DEFAULT_LIMITS.max_affix_length,
    }
    number = {"type": "number"}
    operators = {
        "exactly": strings,
        "prefix": affix_any_case,
        "suffix": affix_any_case,
        "equals-ignore-case": strings,
        "wildcard": wildcard,
        "numeric": {
            "anyOf": [
                _tuple({"enum": ["=", "<", "<=", ">", ">="]}, number),
                _tuple({"enum": [">", ">="]}, number, {"enum": ["<", "<="]}, number),
            ]
        },
        "cidr": {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+/(?:0|[1-9][0-9]{0,2})$"},
        "exists": {"type": "boolean"},
        "anything-but": {
            "anyOf": [
                _one_or_several(strings),
                _one_or_several(number),
                _operator("prefix", _one_or_several({**affix, "minLength": 1})),
                _operator("suffix", _one_or_several({**affix, "minLength": 1})),
                _operator("equals-ignore-case", _one_or_several(strings)),
                _operator("wildcard", _one_or_several(wildcard)),
            ]
        },
    }
    scalar = {"type": ["string", "number", "boolean", "null"]}
    element = {"anyOf": [scalar, *(_operator(*each) for each in operators.items())]}
    return {
        **ref("fields"),
        "title": "Body pattern",
        "description": "Fields are anded; the elements of a field's array are ored.",
        "$defs": {
            _PREFIX + "fields": {
                "type": "object",
                "minProperties": 1,
                "properties": {OR: {"type": "array", "minItems": 2, "items": ref("fields")}},
                "additionalProperties": {"anyOf": [ref("leaf"), ref("fields")]},
            },
            _PREFIX + "leaf": _array(ref("element")),
            _PREFIX + "element": element,
        },
    }


def _operator(name: str, operand: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: operand},
        "required": [name],
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": DEFAULT_LIMITS.max_elements}


def _one_or_several(items: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [items, _array(items)]}


def _tuple(*items: dict[str, Any]) -> dict[str, Any]:
    count = len(items)
    return {"type": "array", "prefixItems": list(items), "minItems": count, "maxItems": count}
