"""edr, the hand-written ways and the compared libraries, each behind the same calls."""

from benchmarks.peers.buses import Abxbus, Broadcaster, Litestar
from benchmarks.peers.by_hand import AnyioStreams, DequeFloor, QueueLoop, QueueLoopNowait
from benchmarks.peers.edr_bus import STALL_AFTER, EdrEmit, EdrPublish
from benchmarks.peers.peer import (
    BURST,
    CAPACITY,
    Peer,
    case_of,
    is_installed,
    missing,
    new_receiver,
    ready,
    running,
)
from benchmarks.peers.signals import Blinker, BlinkerOpen, BlinkerTesting, Pyee

__all__ = [
    "BURST",
    "CAPACITY",
    "STALL_AFTER",
    "Abxbus",
    "AnyioStreams",
    "Blinker",
    "BlinkerOpen",
    "BlinkerTesting",
    "Broadcaster",
    "DequeFloor",
    "EdrEmit",
    "EdrPublish",
    "Litestar",
    "Peer",
    "Pyee",
    "QueueLoop",
    "QueueLoopNowait",
    "case_of",
    "is_installed",
    "missing",
    "new_receiver",
    "ready",
    "running",
]
