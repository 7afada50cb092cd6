"""``to_toml``: a configuration as the text of a file that ``load`` reads to an equal value.

It has every setting, also those with their default, so that it shows how edr understood a file. A
secret is written as the name of its variable or file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edr.app.config.checked import Checked
from edr.app.config.model import PART_SECTIONS, Configuration
from edr.app.config.secret import Secret, variable_of
from edr.app.config.section import Section, written_of
from edr.records import Binding
from edr.wire.escaping import UNSAFE

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile(f"[{UNSAFE}]")

MAX_LINE = 100
"""Characters of an array on one line."""


def to_toml(configuration: Configuration, *, folder: Path | None = None) -> str:
    """Return ``configuration`` as TOML, with all settings and without secrets.

    Paths in ``folder`` are relative to it, for a file in this folder. Others are absolute.

    A secret that a Kazoo document contains has no such form. It is written as the environment
    variable ``EDR_SECTION_PART_KEY`` that must be set to it.
    """
    blocks = []
    for section in Configuration.model_fields:
        value = getattr(configuration, section)
        if section in PART_SECTIONS:
            blocks += [_block((section, name), part, folder) for name, part in value.items()]
        elif value is not None:
            blocks.append(_block((section,), value, folder))
    return "\n".join(blocks)


def _block(path: tuple[str, ...], section: Section, folder: Path | None) -> str:
    lines = [f"[{'.'.join(map(_key, path))}]"]
    for key, value in _settings(section, path):
        lines.append(f"{_key(key)} = {_long(_relative(value, folder))}")
    return "\n".join(lines) + "\n"


def _relative(value: Any, folder: Path | None) -> Any:
    """Return a value with its paths as text."""
    if isinstance(value, Mapping):
        return {key: _relative(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_relative(each, folder) for each in value]
    if not isinstance(value, Path):
        return value
    is_inside = folder is not None and value.is_relative_to(folder)
    return str(value.relative_to(folder) if is_inside and folder is not None else value)


def _settings(section: Section, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield each setting in the form of a file. TOML has no null: such a setting is left out."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(written := written_of(field), Checked):
            value = written.write(value)
        if value is not None:
            yield name, _plain(value, (*path, name))


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    """Return a value of tables, arrays, text, numbers, booleans and paths."""
    if isinstance(value, Section):
        return dict(_settings(value, path))
    if isinstance(value, Binding):
        return _binding(value)
    if isinstance(value, Secret):
        return _secret(value, path)
    if isinstance(value, Mapping):
        return {key: _plain(each, (*path, key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, path) for each in value]
    return value


def _secret(secret: Secret, path: tuple[str, ...]) -> dict[str, str | Path]:
    if secret.env is not None:
        return {"env": secret.env}
    if secret.file is not None:
        return {"file": secret.file}
    return {"env": variable_of(path)}


def _binding(binding: Binding) -> dict[str, Any]:
    """Return the fields that differ from the defaults, and both levels."""
    given = binding.model_dump(mode="json")
    default = Binding().model_dump(mode="json")
    found = {
        key: value
        for key, value in given.items()
        if value != default[key] or key in {"severity", "verbosity"}
    }
    if "body" in found and _has_null(found["body"]):
        found["body"] = json.dumps(found["body"])
    return found


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_null, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_null, value))
    return value is None


def _long(value: Any) -> str:
    """Return a value, an array with one element in each line if it is long."""
    text = literal(value)
    if not isinstance(value, list) or len(text) <= MAX_LINE:
        return text
    return "[\n" + "".join(f"    {literal(each)},\n" for each in value) + "]"


def literal(value: Any) -> str:
    """Return a value of tables, arrays, text, numbers and booleans as TOML in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        pairs = [f"{_key(key)} = {literal(each)}" for key, each in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # The escapes of JSON are valid in TOML, which also needs one for the character DEL.
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)
