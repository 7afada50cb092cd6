"""The errors of links."""

from __future__ import annotations

from edr.errors import EdrError


class LinkError(EdrError):
    """A bus and a broker cannot exchange events, or the link is closed."""


class LinkRefusedError(LinkError):
    """The broker refuses the link: a wrong password, an unsuitable version, another exchange.

    A retry cannot help, so ``start`` raises it.
    """
