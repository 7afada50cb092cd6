"""``parse``: the text of a file as a document, with the line of each key."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, NamedTuple

from edr.app.config.faults import ConfigurationError, Fault, Location, printable
from edr.app.config.lines import json_lines, toml_lines
from edr.errors import kind_of, shown

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a configuration file: a file of this size is another one, given by mistake."""

_PLACE = re.compile(r"\s*\((?:at line (\d+), column (\d+)|at end of document)\)$")


class Document(NamedTuple):
    """A parsed file."""

    content: dict[str, Any]
    lines: dict[Location, int]
    is_json: bool


def parse(data: bytes, file: str) -> Document:
    """Return the document in ``data``. Text that starts with ``{`` is JSON, other text is TOML.

    Raises:
        ConfigurationError: the text is neither.
    """
    if len(data) > MAX_BYTES:
        raise _error(file, None, "must have at most 4 MiB; is it a configuration file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise _error(file, line, "must be UTF-8 text") from None
    try:
        if text.lstrip().startswith("{"):
            return Document(*_json(text, file), is_json=True)
        content = tomllib.loads(text)
        return Document(content, toml_lines(text), is_json=False)
    except json.JSONDecodeError as exc:
        raise _error(file, exc.lineno, f"must be valid JSON: {_lowered(exc.msg)}") from None
    except tomllib.TOMLDecodeError as exc:
        raise _error(file, *_toml_fault(str(exc), text)) from None
    except RecursionError:
        raise _error(file, None, "must not have so deep a nesting of arrays and tables") from None
    except ValueError:  # a number or a date beyond the limits of Python
        raise _error(file, None, "must not have numbers or dates beyond the usual range") from None


def _json(text: str, file: str) -> tuple[dict[str, Any], dict[Location, int]]:
    twice: list[str] = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice.extend(key for key in found if keys.count(key) > 1)
        return found

    content = json.loads(text, object_pairs_hook=object_of)
    if twice:
        raise ConfigurationError(
            file,
            dict.fromkeys(
                Fault("", None, printable(f"the key {shown(key)} must be given once"))
                for key in twice
            ),
        )
    if not isinstance(content, dict):
        raise _error(file, None, f"must be an object, got {kind_of(content)}")
    return content, json_lines(text)


def _toml_fault(message: str, text: str) -> tuple[int, str]:
    match = _PLACE.search(message)
    line = text.count("\n") + 1 if match is None or match[1] is None else int(match[1])
    reason = message[: match.start()] if match else message
    column = f", column {match[2]}" if match and match[2] else ""
    return line, f"must be valid TOML: {_lowered(reason)}{column}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _error(file: str, line: int | None, message: str) -> ConfigurationError:
    return ConfigurationError(file, [Fault("", line, printable(message))])
