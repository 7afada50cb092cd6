"""The flags that choose a section of a ``system_config`` document of Kazoo."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

KazooNode: TypeAlias = Annotated[
    str | None, Parameter("--kazoo-node", help="the node, for a system_config document")
]
KazooZone: TypeAlias = Annotated[str | None, Parameter("--kazoo-zone", help="the zone of the node")]
