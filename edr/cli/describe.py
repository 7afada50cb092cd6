"""Bindings in words, for headers and tables: ``severity warning+, app acdc, queue.id=q7``.

Conditions on the body are written as the flag ``-b`` reads them where it can express them, and as
JSON otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from edr.cli.filters import SEVERITIES, VERBOSITIES

EVERY_EVENT = "every event"


def describe(bindings: Sequence[Mapping[str, Any]]) -> str:
    """Return a phrase for ``bindings``: documents with all their fields or only some.

    A document that is not valid is described too. The process that receives it reports the fault.
    """
    phrases = dict.fromkeys(", ".join(_phrases(binding)) or EVERY_EVENT for binding in bindings)
    return EVERY_EVENT if EVERY_EVENT in phrases else "; or ".join(phrases)


def describe_briefly(bindings: Sequence[Mapping[str, Any]]) -> str:
    """Return a phrase for a column: ``acdc queue.id=q7``. The default verbosity is left out."""
    phrases = dict.fromkeys(" ".join(_words(binding)) for binding in bindings)
    return " | ".join(phrases)


def _phrases(binding: Mapping[str, Any]) -> Iterator[str]:
    if severity := _levels(binding, "severity", SEVERITIES, "ok"):
        yield f"severity {severity}"
    if verbosity := _levels(binding, "verbosity", VERBOSITIES, "info"):
        yield f"verbosity {verbosity}"
    if apps := _names(binding.get("app_name")):
        yield f"app {apps}"
    if accounts := _names(binding.get("account_id")):
        yield f"account {accounts}{' and below' if binding.get('include_descendants') else ''}"
    yield from _conditions(_pattern(binding))


def _words(binding: Mapping[str, Any]) -> Iterator[str]:
    verbosity = _levels(binding, "verbosity", VERBOSITIES, "info")
    words = [
        _names(binding.get("app_name")),
        _levels(binding, "severity", SEVERITIES, "ok"),
        verbosity if verbosity != "info+" else "",
    ]
    if accounts := _names(binding.get("account_id")):
        words.append(f"account={accounts}{'/*' if binding.get('include_descendants') else ''}")
    words += _conditions(_pattern(binding))
    named = [word for word in words if word]
    yield from named or [verbosity or EVERY_EVENT]


def _levels(binding: Mapping[str, Any], field: str, known: Sequence[str], default: str) -> str:
    """Return ``warning+``, ``warning`` or ``ok,critical``; nothing if every level matches."""
    level = binding.get(field, default)
    if not isinstance(level, str):
        return "" if level == list(known) else _listed(level)
    if binding.get(f"exact_{field}") or level == known[-1]:
        return level
    return "" if level == known[0] else f"{level}+"


def _names(names: Any) -> str:
    if names is None or names == "*":
        return ""
    return _listed(names)


def _listed(names: Any) -> str:
    return ",".join(map(_scalar, names)) if isinstance(names, list) else _scalar(names)


def _pattern(binding: Mapping[str, Any]) -> Mapping[str, Any]:
    body = binding.get("body") or {}
    return body if isinstance(body, dict) else {"body": body}


def _conditions(pattern: Mapping[str, Any], *path: str) -> Iterator[str]:
    for key, value in pattern.items():
        if key == "$or" or not isinstance(value, (dict, list)):
            yield _json(_nested({key: value}, path))
        elif isinstance(value, dict):
            yield from _conditions(value, *path, key)
        else:
            name = ".".join(each.replace("\\", "\\\\").replace(".", "\\.") for each in (*path, key))
            yield _condition(name, value) or _json(_nested({key: value}, path))


def _condition(name: str, elements: Sequence[Any]) -> str:
    """Return the elements as one condition; nothing if ``-b`` has no form for them."""
    values = [_scalar(each) for each in elements if not isinstance(each, dict)]
    if len(values) == len(elements):
        return f"{name}={'|'.join(dict.fromkeys(values))}"
    wildcards = [_wildcard(each) for each in elements]
    if all(wildcards):
        return f"{name}~{'|'.join(wildcards)}"
    if len(elements) != 1 or len(elements[0]) != 1:
        return ""
    ((operator, operand),) = elements[0].items()
    if operator == "exists":
        return f"{name}?" if operand is True else f"no {name}"
    if operator == "numeric" and isinstance(operand, list) and len(operand) % 2 == 0:
        bounds = zip(operand[::2], operand[1::2], strict=True)
        return " ".join(f"{name}{comparison}{_scalar(bound)}" for comparison, bound in bounds)
    if operator == "anything-but" and not isinstance(operand, dict):
        excluded = operand if isinstance(operand, list) else [operand]
        return f"{name}!={'|'.join(map(_scalar, excluded))}"
    return ""


def _wildcard(element: Any) -> str:
    if not isinstance(element, dict) or len(element) != 1:
        return ""
    ((operator, operand),) = element.items()
    if not isinstance(operand, str):
        return ""
    literal = operand.replace("\\", "\\\\").replace("*", "\\*")
    return {"wildcard": operand, "prefix": f"{literal}*", "suffix": f"*{literal}"}.get(operator, "")


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _nested(pattern: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    for name in reversed(path):
        pattern = {name: pattern}
    return pattern


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
