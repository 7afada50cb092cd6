"""``connect``: a bus with a link, in one line."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

from edr.bus import Bus, BusOptions
from edr.errors import did_you_mean
from edr.links.address import split_url
from edr.links.link import Link

_LINKS = {
    "nats": ("edr.links.nats", "NatsLink"),
    "tls": ("edr.links.nats", "NatsLink"),
    "ws": ("edr.links.nats", "NatsLink"),
    "wss": ("edr.links.nats", "NatsLink"),
    "amqp": ("edr.links.rabbitmq", "RabbitLink"),
    "amqps": ("edr.links.rabbitmq", "RabbitLink"),
}


@asynccontextmanager
async def connect(
    url: str, *, bus: BusOptions | None = None, **options: Any
) -> AsyncIterator[tuple[Bus, Link]]:
    """Make a bus that is linked to a broker: ``async with edr.connect(url) as (bus, link)``.

    Every bus that is linked to the same broker receives the events of this one, and this one
    receives theirs. The end of the block drains the bus first and then the link, so the link also
    sends the events that callbacks emit during the drain.

    Args:
        url: the broker: ``nats://``, ``tls://``, ``ws://`` or ``wss://`` for NATS, ``amqp://`` or
            ``amqps://`` for RabbitMQ.
        bus: arguments of ``Bus``, such as ``{"node": "apps1"}``.
        options: arguments of ``edr.links.NatsLink`` or ``edr.links.RabbitLink``.

    Raises:
        ValueError: the scheme of the URL is not supported.
        TypeError: the link has no such argument; the message names the bus's argument if it is one.
        edr.links.LinkRefusedError: the broker refused the link, and a retry would not help.
    """
    link = _link_for(url)
    _check_options(link, options)
    async with Bus(**(bus or {})) as made:
        joined = link(made, url, **options)
        await joined.start()
        yield made, joined


def _link_for(url: str) -> Callable[..., Link]:
    example = ", ".join(f"{scheme}://host" for scheme in _LINKS)
    module, name = _LINKS[split_url(url, dict.fromkeys(_LINKS, 0), example).scheme]
    link: Callable[..., Link] = getattr(importlib.import_module(module), name)
    return link


def _check_options(link: Callable[..., Link], options: Mapping[str, Any]) -> None:
    known = set(signature(link).parameters) - {"bus", "url"}
    for name in options:
        if name in known:
            continue
        hint = did_you_mean(name, known)
        if name in signature(Bus).parameters:
            hint = f"; the bus has: bus={{{name!r}: …}}"
        raise TypeError(f"{link.__name__} has no argument {name!r}{hint}")
