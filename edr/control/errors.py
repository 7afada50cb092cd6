"""The exceptions of ``edr.control``. They need no other part of edr than its root exception."""

from __future__ import annotations

from edr.errors import EdrError, SocketPathError

__all__ = [
    "ConnectionLostError",
    "ControlError",
    "ProtocolError",
    "RemoteError",
    "SocketPathError",
]


class ControlError(EdrError):
    """The root of the errors of control sockets."""


class ConnectionLostError(ControlError):
    """The process does not accept connections, or the connection was lost."""


class ProtocolError(ControlError):
    """The peer does not use this protocol, or another version of it."""


class RemoteError(ControlError):
    """The process refused a request.

    Attributes:
        code: the kind of the refusal, such as ``invalid_binding``; ``docs/control.md`` lists them.
        path: the place in the request, such as ``bindings[0].severity``; empty for the whole one.
        detail: the reason, in words.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        super().__init__(code, path, detail)
        self.code = code
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail
