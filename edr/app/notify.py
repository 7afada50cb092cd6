"""``Notifier``: tells systemd the state of the application, as ``sd_notify`` does.

Without ``NOTIFY_SOCKET`` in the environment it does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends lines to the socket of the service manager. A fault of it has no effect.

    Args:
        environ: the environment; by default that of the process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace of Linux.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        pid = environ.get("WATCHDOG_PID", "")
        period = environ.get("WATCHDOG_USEC", "")
        is_for_us = not pid or pid == str(os.getpid())
        self.watchdog_interval: float | None = None
        """Seconds between two calls of ``alive``; ``None`` without a watchdog."""
        if self._address and is_for_us and period.isdecimal() and int(period):
            self.watchdog_interval = int(period) / 2e6

    def ready(self) -> None:
        """Send that the start, or a reload, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Send that a reload has begun."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def starting(self, timeout: float) -> None:
        """Send that the start continues, and takes at most ``timeout`` seconds from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(timeout * 1e6)}")

    def stopping(self, timeout: float) -> None:
        """Send that the application stops, within ``timeout`` seconds."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(timeout * 1e6)}")

    def alive(self) -> None:
        """Send that the loop runs."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), self._address)
