"""A bus joined to a broker: what is emitted here is seen there, and the other way round.

Read the modules in this order; each imports only from those before it:
seen, link, subject.

Promises: an emit never waits, hangs or raises for a broker; nothing is lost uncounted; who gets an
event that came from afar is exactly who would get it if it had been emitted here.
"""

from edr.links.link import Link, LinkError, LinkRefused, LinkState, LinkStatistics

__all__ = [
    "Link",
    "LinkError",
    "LinkRefused",
    "LinkState",
    "LinkStatistics",
]
