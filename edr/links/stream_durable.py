"""``DurableConsumer``: the requests that create, resume and replace a durable JetStream consumer.

A JetStream consumer can get other filters, but it does not go back to entries that it has passed
over already while it sent others ahead. So other bindings need a new one. A bookmark, which is a
JetStream consumer without the journal's name in its metadata, keeps the place while the old one is
deleted and the new one is created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from edr.links.stream_api import StreamApi, StreamError
from edr.links.stream_metadata import (
    bookmark_of,
    consumer_of,
    new_metadata,
    opened_metadata,
    record_of,
)

ACK_WAIT = 86_400.0
"""Seconds without an ack after which the server redelivers an entry: handling one may take long."""

REDELIVER_ACK_WAIT = 0.001
"""``ack_wait`` in seconds while all unacknowledged entries are redelivered."""

REDELIVERY_DELAY = 0.25
"""Seconds until the server has redelivered them: it checks 0.1 s after such a change. A server that
is too busy for that does not redeliver them, so it is asked again."""

MAX_RESUMES = 4
"""Attempts to have all unacknowledged entries redelivered, with twice the delay each time."""


class DurableConsumer:
    """The JetStream consumer of a named consumer.

    Args:
        name: of the consumer.
        max_unacked: how many entries may be unacknowledged.
    """

    def __init__(self, name: str, max_unacked: int) -> None:
        self.server_name: str = consumer_of(name)
        self.settings: dict[str, Any] = {}
        """As the server has them."""
        self._name = name
        self._max_unacked = max_unacked

    async def has_its_bindings(self, api: StreamApi) -> bool:
        """Return whether the server has it, and with the bindings in ``settings``."""
        info = await api.consumer(self.server_name)
        stored = record_of({"config": self.settings})
        return info is not None and record_of(info).bindings == stored.bindings

    async def find_bookmark(self, api: StreamApi) -> dict[str, Any] | None:
        """Return the bookmark of a replacement that was interrupted, or None."""
        return await api.consumer(bookmark_of(self._name))

    async def create(
        self,
        api: StreamApi,
        filters: Sequence[str],
        metadata: Mapping[str, str],
        after: int | None,
        *,
        may_hold: bool = False,
    ) -> dict[str, Any]:
        """Create it after the position ``after``, or at the oldest entry.

        Args:
            api: of the connection.
            filters: subjects; without one, all.
            metadata: the consumer's name and state.
            after: None for the oldest entry.
            may_hold: whether held entries come again, which must not stop the others.
        """
        settings = self._new_settings(self.server_name, filters, metadata, after)
        if may_hold:
            settings["max_ack_pending"] = 2 * self._max_unacked
        return await api.create_consumer(self.server_name, settings)

    def _new_settings(
        self, name: str, filters: Sequence[str], metadata: Mapping[str, str], after: int | None
    ) -> dict[str, Any]:
        begins: dict[str, Any] = {"deliver_policy": "all"}
        if after is not None:
            begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        return {
            **begins,
            "durable_name": name,
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT * 1e9),
            "max_ack_pending": self._max_unacked,
            "filter_subjects": filters,
            "metadata": metadata,
        }

    async def resume(
        self, api: StreamApi, info: dict[str, Any], attempt: int = 0
    ) -> dict[str, Any]:
        """Request all unacknowledged entries again, and mark it as open.

        Args:
            api: of the connection.
            info: its settings and state.
            attempt: number of earlier requests that had no effect, below ``MAX_RESUMES``.

        Returns:
            Its settings and state, with the number of entries that are redelivered.
        """
        config = {**info["config"], "max_ack_pending": self._max_unacked}
        if info["num_ack_pending"]:
            moment = {**config, "ack_wait": int(REDELIVER_ACK_WAIT * 1e9)}
            await api.create_consumer(self.server_name, moment, "update")
            await asyncio.sleep(REDELIVERY_DELAY * 2**attempt)
        config["ack_wait"] = int(ACK_WAIT * 1e9)
        config["metadata"] = opened_metadata(info)
        made = await api.create_consumer(self.server_name, config, "update")
        made["num_ack_pending"] = info["num_ack_pending"]
        return made

    async def remove(
        self, api: StreamApi, filters: Sequence[str], bindings: str, missed: int, floor: int
    ) -> dict[str, Any]:
        """Delete it to replace it by another one after ``floor``. Return the bookmark."""
        name = bookmark_of(self._name)
        await self.remove_bookmark(api)  # of a replacement that was interrupted at its end
        metadata = new_metadata(None, bindings, missed, floor)
        settings = self._new_settings(name, filters, metadata, floor)
        bookmark = await api.create_consumer(name, settings)
        await api.delete_consumer(self.server_name)
        return bookmark

    async def remove_bookmark(self, api: StreamApi) -> None:
        """Delete the bookmark, if there is one."""
        with suppress(StreamError):
            await api.delete_consumer(bookmark_of(self._name))

    async def write(self, api: StreamApi, changes: Mapping[str, str]) -> None:
        """Write ``changes`` into the metadata, and restore ``max_unacked``."""
        settings = {
            **self.settings,
            "max_ack_pending": self._max_unacked,
            "metadata": {**self.settings["metadata"], **changes},
        }
        await api.create_consumer(self.server_name, settings, "update")
        self.settings = settings
