"""Kazoo's own document: the ``backends`` of its edr application become sinks.

Three forms are accepted: ``{"backends": […]}``, the same within ``default``, and a whole
``system_config`` document with sections for nodes and zones. Each difference to Kazoo is a note.

The sinks receive the events of Kazoo through a link to its exchange, to which Kazoo's own ``amqp``
backend publishes them. An ``amqp`` backend of the document would publish them there a second time,
so its sink is disabled where such a link exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edr.app.config.checked import any_of
from edr.app.config.faults import Location
from edr.app.config.model import Configuration
from edr.app.config.secret import Secret, secrets_in, variable_of
from edr.app.config.secret_values import SENSITIVE_HEADERS
from edr.errors import did_you_mean, kind_of, shown

BROKER = "EDR_AMQP_URL"
"""The variable with the URL of Kazoo's broker: a document of backends does not have it."""

TYPES = ("amqp", "file", "http", "skel")
BACKEND_KEYS = {"name", "type", "enabled", "options", "bindings"}
OPTIONS = {
    "amqp": frozenset[str](),
    "file": frozenset({"path", "formatter"}),
    "http": frozenset(
        {"url", "method", "headers", "async", "connect_timeout", "timeout", "formatter"}
    ),
    "skel": frozenset[str](),
}
FORMATTER_OPTIONS = ("include_metadata", "normalize", "pretty")


def is_kazoo(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON document is one of Kazoo."""
    return "backends" in content or any(
        isinstance(section, Mapping) and "backends" in section
        for name, section in content.items()
        if name not in Configuration.model_fields
    )


@dataclass
class Converted:
    """A Kazoo document as the content of a configuration file."""

    content: dict[str, Any] = field(default_factory=dict)
    origins: dict[Location, Location] = field(default_factory=dict)
    """The place in Kazoo's document of each setting that was made from one."""
    faults: list[tuple[Location, str]] = field(default_factory=list)
    notes: list[tuple[Location, str]] = field(default_factory=list)

    def origin(self, place: Location) -> Location:
        """Return the place in Kazoo's document of a setting; ``place`` of one that has none."""
        for length in range(len(place), 0, -1):
            if (found := self.origins.get(place[:length])) is not None:
                return found + place[length:]
        return place


def convert(content: Mapping[str, Any], node: str | None, zone: str | None) -> Converted:
    """Return the sinks and the link for the backends of a document.

    Args:
        content: the document.
        node: the node whose section is used, if it has backends.
        zone: the zone whose section is used then; else ``default`` is.
    """
    found = Converted()
    place = _section(content, node, zone, found)
    if place is None:
        return found
    backends: Any = content
    for step in (*place, "backends"):
        backends = backends[step]
    if not isinstance(backends, list):
        found.faults.append(((*place, "backends"), f"must be an array, got {kind_of(backends)}"))
        return found
    sinks: dict[str, dict[str, Any]] = {}
    for index, backend in enumerate(backends):
        _backend((*place, "backends", index), backend, sinks, found)
    found.content["sinks"] = sinks
    _add_link(sinks, found)
    return found


def _section(
    content: Mapping[str, Any], node: str | None, zone: str | None, found: Converted
) -> Location | None:
    """Return the place of the section to use: Kazoo reads the node's, the zone's, ``default``."""
    if "backends" in content:
        return ()
    sections = [
        name
        for name, section in content.items()
        if isinstance(section, Mapping) and "backends" in section
    ]
    for name in filter(None, (node, zone, "default")):
        if name in sections:
            others = [shown(each) for each in sections if each != name]
            if others:
                found.notes.append(
                    ((name,), f"used; other sections have backends too: {', '.join(others)}")
                )
            return (name,)
    names = ", ".join(map(shown, sections))
    message = f"must have default or a section chosen by --kazoo-node, has {names}"
    found.faults.append(((), message))
    return None


def _backend(
    place: Location, backend: object, sinks: dict[str, dict[str, Any]], found: Converted
) -> None:
    if not isinstance(backend, Mapping):
        found.faults.append((place, f"must be an object, got {kind_of(backend)}"))
        return
    kind = backend.get("type", backend.get("name"))  # Kazoo's default for the type is the name
    if kind not in TYPES:
        hint = did_you_mean(kind, TYPES) if isinstance(kind, str) else ""
        message = f"must be {any_of(TYPES)}, got {shown(kind)}{hint}"
        found.faults.append(((*place, "type"), message))
        return
    options = backend.get("options") or {}
    if not isinstance(options, Mapping):
        message = f"must be an object, got {kind_of(options)}"
        found.faults.append(((*place, "options"), message))
        return
    found.notes += [
        ((*place, key), "is not a key of a backend, and ignored")
        for key in backend
        if key not in BACKEND_KEYS
    ]
    found.notes += [
        ((*place, "options", key), f"is not an option of {kind}, and ignored")
        for key in options
        if key not in OPTIONS[kind]
    ]
    if kind == "skel":
        found.notes.append((place, "has no effect, as in Kazoo, and was left out"))
        return
    name = _name(place, backend.get("name"), sinks, found)
    if name is None:
        return
    here: Location = ("sinks", name)
    found.origins |= _origins(here, place, kind)
    sink: dict[str, Any] = {"type": kind, "enabled": _enabled(place, backend, found)}
    if kind == "amqp":
        sink["url"] = {"env": BROKER}
    else:
        make = _file if kind == "file" else _http
        sink |= make((*place, "options"), options, found)
    sink["bindings"] = list(_bindings((*place, "bindings"), backend.get("bindings"), found))
    for inner, secret in secrets_in(sink):
        if secret.given is not None:
            variable = variable_of(("sinks", name, *map(str, inner)))
            message = (
                f"is never printed; a converted file reads the environment variable {variable}"
            )
            found.notes.append((found.origin((*here, *inner)), message))
    sinks[name] = sink


def _origins(sink: Location, backend: Location, kind: str) -> dict[Location, Location]:
    """Return the place in Kazoo's document of each setting of a sink."""
    found = {sink: backend}
    for key in OPTIONS[kind]:
        found[(*sink, key)] = (*backend, "options", key)
    formatter: Location = (*backend, "options", "formatter")
    found[(*sink, "format")] = formatter
    for key in FORMATTER_OPTIONS:
        found[(*sink, "format", key)] = (*formatter, "options", key)
    return found


def _name(place: Location, given: object, sinks: Mapping[str, Any], found: Converted) -> str | None:
    """Return the name of the sink: the nearest one that is valid."""
    if not isinstance(given, str) or not given:
        message = f"must be text that is not empty, got {shown(given)}"
        found.faults.append(((*place, "name"), message))
        return None
    name = re.sub(r"[^a-z0-9_-]", "-", given.lower())[:63]
    if not name[0].isalpha():
        name = f"sink-{name}"[:63]
    if name in sinks:
        message = f"must be another name: another backend becomes the sink {name!r} too"
        found.faults.append(((*place, "name"), message))
        return None
    if name != given:
        found.notes.append(((*place, "name"), f"becomes the sink {name!r}"))
    return name


def _enabled(place: Location, backend: Mapping[str, Any], found: Converted) -> object:
    if backend.get("enabled") is None:
        found.notes.append((place, "enabled is missing and counts as true: Kazoo did not start it"))
        return True
    return backend["enabled"]


# Options of each type. They return settings of the sink.


def _file(place: Location, options: Mapping[str, Any], found: Converted) -> dict[str, Any]:
    form = _format(place, options, found)
    if form.get("pretty") is True:
        message = "pretty is left out: one event is one line of the file"
        found.notes.append(((*place, "formatter"), message))
        form["pretty"] = False
    return {**({"path": options["path"]} if "path" in options else {}), "format": form}


def _http(place: Location, options: Mapping[str, Any], found: Converted) -> dict[str, Any]:
    found.notes.append((place[:-1], "events are kept and retried: Kazoo dropped them"))
    sink: dict[str, Any] = {"format": _format(place, options, found), "batch": {"events": 1}}
    if "url" in options:
        sink["url"] = _url(options["url"])
    if isinstance(method := options.get("method"), str):
        sink["method"] = method.lower()
    if (headers := options.get("headers")) is not None:
        sink["headers"] = (
            {name: _header(name, value) for name, value in headers.items()}
            if isinstance(headers, Mapping)
            else headers
        )
    if options.get("async"):
        message = "is ignored: a sink waits for each response, and delays no other part"
        found.notes.append(((*place, "async"), message))
    for key in ("timeout", "connect_timeout"):
        if (value := options.get(key)) is not None:
            is_number = type(value) in {int, float}
            sink[key] = value / 1000 if is_number and abs(value) < 1e12 else value  # noqa: PLR2004
    return sink


def _url(given: object) -> object:
    """Return a URL. One with a user name or a query may be a secret, which is never printed."""
    is_secret = isinstance(given, str) and ("@" in given or "?" in given)
    return Secret(given=str(given)) if is_secret else given


def _header(name: str, value: object) -> object:
    text = str(value) if type(value) in {int, float} else value
    if isinstance(text, str) and name.lower() in SENSITIVE_HEADERS:
        return Secret(given=text)
    return text


def _format(place: Location, options: Mapping[str, Any], found: Converted) -> dict[str, Any]:
    form: dict[str, Any] = {"type": "kazoo"}
    formatter = options.get("formatter") or {}
    here = (*place, "formatter")
    if not isinstance(formatter, Mapping):
        found.faults.append((here, f"must be an object, got {kind_of(formatter)}"))
        return form
    if formatter.get("type", "json") != "json":
        message = f"must be json, Kazoo's only formatter, got {shown(formatter['type'])}"
        found.faults.append(((*here, "type"), message))
    given = formatter.get("options") or {}
    if not isinstance(given, Mapping):
        found.faults.append(((*here, "options"), f"must be an object, got {kind_of(given)}"))
        return form
    for key in given:
        if key not in FORMATTER_OPTIONS:
            found.notes.append(((*here, "options", key), "is not a formatter option, and ignored"))
        elif isinstance(given[key], str):
            # Kazoo accepts "true" as text, for two of the three.
            form[key] = {"true": True, "false": False}.get(given[key], given[key])
        elif given[key] is not None:
            form[key] = given[key]
    return form


def _bindings(place: Location, given: object, found: Converted) -> Iterator[object]:
    if given is None or given == []:
        found.notes.append((place[:-1], "has no bindings and receives info and higher"))
        yield {}
        return
    bindings = given if isinstance(given, list) else [given]
    for index, binding in enumerate(bindings):
        if not isinstance(binding, Mapping):
            yield binding
            continue
        here = (*place, index) if isinstance(given, list) else place
        # Kazoo reads null as missing.
        fields = {key: value for key, value in binding.items() if value is not None}
        if missing := [key for key in ("severity", "verbosity") if key not in fields]:
            defaults = {"severity": "ok", "verbosity": "info"}
            names = " and ".join(f"{key} counts as {defaults[key]}" for key in missing)
            found.notes.append((here, f"a missing {names}: Kazoo bound nothing"))
        if fields.get("account_id", "*") != "*":
            message = "is honoured: Kazoo ignored it and sent all tenants' events"
            found.notes.append(((*here, "account_id"), message))
        yield fields


def _add_link(sinks: dict[str, dict[str, Any]], found: Converted) -> None:
    """Receive Kazoo's events, if there is a sink for them that does not publish them to Kazoo."""
    rabbits = [name for name, sink in sinks.items() if sink["type"] == "amqp" and sink["enabled"]]
    others = [name for name, sink in sinks.items() if sink["type"] != "amqp" and sink["enabled"]]
    if not others:
        if rabbits:
            message = "is published by Kazoo itself; add a source for other events to publish"
            found.notes.append((found.origins["sinks", rabbits[0]], message))
        return
    name = next(each for each in ("kapps", "kazoo", "kazoo-events") if each not in sinks)
    found.content["links"] = {
        name: {"type": "rabbitmq", "url": {"env": BROKER}, "receive": "wanted"}
    }
    message = (
        f"the link {name} receives the events that Kazoo's own amqp backend publishes; Kazoo must "
        f"keep one. {BROKER} must be the URL of its broker"
    )
    found.notes.append((("links", name), message))
    for rabbit in rabbits:
        sinks[rabbit]["enabled"] = False
        message = (
            "becomes a disabled sink: Kazoo publishes these events itself, and the sink would "
            "publish them a second time"
        )
        found.notes.append((found.origins["sinks", rabbit], message))
