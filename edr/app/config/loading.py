"""``load``: a file as a ``Configuration``, or all its faults."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from edr.app.config import rules
from edr.app.config.faults import (
    ConfigurationError,
    Fault,
    Location,
    Note,
    located,
    notes_at,
    printable,
)
from edr.app.config.kazoo import convert, is_kazoo
from edr.app.config.model import PART_SECTIONS, Configuration
from edr.app.config.parsing import parse
from edr.app.config.section import faults_of
from edr.app.config.web import WebConfig
from edr.patterns import DEFAULT_LIMITS
from edr.records import Binding

_CUT_BY_KEY = (*PART_SECTIONS, "app", "web")
"""Sections of which a fault removes one key. All keys of ``app`` and ``web`` have a default."""


class Loaded(NamedTuple):
    """A valid configuration, and remarks about it."""

    configuration: Configuration
    notes: tuple[Note, ...]


def load(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    kazoo_node: str | None = None,
    kazoo_zone: str | None = None,
) -> Configuration:
    """Return the configuration in a file of TOML or JSON. Nothing is started or created.

    A document of Kazoo's edr application is converted: its backends become sinks.

    Paths in the file are relative to its folder. All secrets of enabled parts are read once, to
    check that they exist.

    Args:
        path: the file.
        environ: the environment variables; by default those of the process.
        kazoo_node: the node of a Kazoo document, whose section is used if it has backends.
        kazoo_zone: the zone of the node, whose section is used then; else ``default`` is.

    Raises:
        ConfigurationError: the file cannot be read, or has faults; it has all of them.
    """
    return load_with_notes(
        path, environ=environ, kazoo_node=kazoo_node, kazoo_zone=kazoo_zone
    ).configuration


def load_with_notes(
    path: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] | None = None,
    kazoo_node: str | None = None,
    kazoo_zone: str | None = None,
    for_this_machine: bool = True,
) -> Loaded:
    """Return the configuration in a file, with remarks for its author.

    Args:
        path: the file.
        environ: as for ``load``.
        kazoo_node: as for ``load``.
        kazoo_zone: as for ``load``.
        for_this_machine: if False, a secret, an extra or a file that this machine does not have is
            a remark, not a fault.

    Raises:
        ConfigurationError: as ``load``.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as exc:
        fault = printable(f"cannot be read: {exc.strerror or exc}")
        raise ConfigurationError(str(file), [Fault("", None, fault)]) from None
    return read(
        data,
        name=str(file),
        folder=file.absolute().parent,
        environ=environ,
        kazoo_node=kazoo_node,
        kazoo_zone=kazoo_zone,
        for_this_machine=for_this_machine,
    )


def read(
    data: bytes,
    *,
    name: str = "configuration",
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    kazoo_node: str | None = None,
    kazoo_zone: str | None = None,
    for_this_machine: bool = True,
) -> Loaded:
    """Return the configuration in the bytes of a file.

    Args:
        data: TOML or JSON.
        name: the name of the file for errors.
        folder: the folder of relative paths; by default they stay relative.
        environ: as for ``load``.
        kazoo_node: as for ``load``.
        kazoo_zone: as for ``load``.
        for_this_machine: as for ``load_with_notes``.

    Raises:
        ConfigurationError: as ``load``.
    """
    document = parse(data, name)
    kazoo = None
    content: Mapping[str, Any] = document.content
    if document.is_json and is_kazoo(content):
        kazoo = convert(content, kazoo_node, kazoo_zone)
        content = kazoo.content
    configuration, faults = _checked(content, folder)
    machine = [] if configuration is None else list(rules.check_machine(configuration, environ))
    if for_this_machine:
        faults += machine
    if kazoo is not None:
        faults = kazoo.faults + [(kazoo.origin(place), message) for place, message in faults]
    if faults or configuration is None:
        raise ConfigurationError(name, located(faults, document.lines))
    remarks = list(_remarks(configuration))
    if not for_this_machine:
        remarks += machine
    if kazoo is not None:
        remarks = kazoo.notes + [(kazoo.origin(place), message) for place, message in remarks]
    return Loaded(configuration, notes_at(remarks, document.lines))


def _checked(
    content: Mapping[str, Any], folder: Path | None
) -> tuple[Configuration | None, list[tuple[Location, str]]]:
    """Return the configuration without its faulty parts, and the faults of the file."""
    # Limits are given so that likely mistakes in body patterns become notes, not Python warnings.
    context = {"folder": folder, "limits": DEFAULT_LIMITS}
    faults: list[tuple[Location, str]] = []
    without: set[Location] = set()
    try:
        configuration = Configuration.model_validate(content, context=context)
    except ValidationError as exc:
        faults = faults_of(exc, Configuration)
        # The rules are checked for the rest, so that one run of the check reports all faults.
        without = {place[: 2 if place[0] in _CUT_BY_KEY else 1] for place, _ in faults}
        try:
            rest = _without(content, without)
            configuration = Configuration.model_validate(rest, context=context)
        except ValidationError:
            return None, faults
    paths = dict(_paths(content, without, folder or Path()))
    return configuration, faults + list(rules.check(configuration, without=without, paths=paths))


def _paths(
    content: Mapping[str, Any], places: Collection[Location], folder: Path
) -> Iterator[tuple[Location, Path]]:
    """Yield the paths of files and sockets in parts with faults, to compare them with others."""
    for place in places:
        part: Any = content
        for step in place:
            part = part.get(step) if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or part.get("enabled", True) is not True:
            continue
        path = part.get("path")
        if part.get("type") not in ("file", "socket") or not isinstance(path, str):
            continue
        if path and path.isprintable():  # otherwise it is a fault itself
            yield (*place, "path"), folder / path


def _without(content: Mapping[str, Any], places: Collection[Location]) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    for key, value in content.items():
        if (key,) in places:
            continue
        is_cut = key in _CUT_BY_KEY and isinstance(value, Mapping)
        rest[key] = (
            {name: each for name, each in value.items() if (key, name) not in places}
            if is_cut
            else value
        )
    return rest


def _remarks(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    if not any(True for _ in configuration.parts()):
        yield (), "no source, link or sink is enabled"
    if configuration.web is not None:
        yield from _remarks_of_web(configuration, configuration.web)
    for kind, name, part in configuration.parts():
        for field in ("bindings", "send", "receive"):
            found = getattr(part, field, ())
            for index, binding in enumerate(found if isinstance(found, tuple) else ()):
                yield from _mistakes(((f"{kind}s"), name, field, index), binding)


def _remarks_of_web(configuration: Configuration, web: WebConfig) -> Iterator[tuple[Location, str]]:
    if configuration.http is not None and configuration.http.listen == web.listen:
        message = (
            "is http.listen too: one server has /livez, /readyz, /metrics and /ingest of http, and "
            "all other paths of web"
        )
        yield ("web", "listen"), message
    for index, binding in enumerate(web.bindings):
        yield from _mistakes(("web", "bindings", index), binding)


def _mistakes(place: Location, binding: Binding) -> Iterator[tuple[Location, str]]:
    if binding.body is not None:
        for warning in binding.body.warnings:
            yield place, str(warning)
