"""edr itself: a ready event published, or one built, checked and stamped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import edr
from benchmarks.harness.samples import BODY, VERSION, Message
from benchmarks.peers.peer import CAPACITY, Peer

STALL_AFTER = 0.05
"""Seconds for which edr's emits wait for an observer that is dead, before it is measured."""


class EdrPublish(Peer):
    name = "edr, publish"
    does = "a ready event, into bounded queues that are accounted"
    ours = True

    def __init__(self) -> None:
        super().__init__()
        self.bus = edr.Bus(node="pbx-3:4711", stall_timeout=STALL_AFTER)

    async def add(self, topic: str) -> edr.Subscription:
        return self.bus.subscribe(edr.Binding(app_name=topic), capacity=CAPACITY)

    async def send(self, messages: Iterable[Message]) -> None:
        publish = self.bus.publish
        for _, event in messages:
            await publish(event)

    def holds_some(self, inbox: edr.Subscription) -> bool:
        # Not statistics(): at a microsecond each they would be a part of what is measured.
        return bool(inbox._queue.items)

    async def aclose(self) -> None:
        await super().aclose()
        await self.bus.aclose()


class EdrEmit(EdrPublish):
    name = "edr, emit"
    does = "builds, checks and stamps each event, its body a snapshot"

    def payload(self, topic: str) -> Any:  # noqa: ARG002
        return BODY

    async def send(self, messages: Iterable[Message]) -> None:
        emit = self.bus.emit
        for topic, body in messages:
            await emit(topic, VERSION, "ok", "info", body)
