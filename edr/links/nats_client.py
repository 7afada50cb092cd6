"""``Connection``: a client of nats-py for one connection, with some methods overridden.

The library implements the protocol, TLS and the ways to log in. A link needs three more properties,
so this class overrides some private methods of the library. All of them are in this module, and
``tests/links/test_nats_client.py`` fails if one changes.

* **One order.** The library gives each subscription a queue and a task of its own, so the events
  of one emitter arrive out of order if they match different patterns. Here each message is handed
  to its handler as it is read, and no object is made of it.
* **A fence.** ``flush`` of the library writes its PING before the buffered messages, so the answer
  does not confirm them. Here the PING follows all messages that were published before.
* **An end.** After a reconnect of the library, a client may report a connection that is dead, or be
  closed without an error; its ``close`` waits for a server that hangs. Here a connection is lost
  once, ``lost`` is set then, and ``abort`` ends it at once.
"""

from __future__ import annotations

import asyncio
import binascii
import inspect
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from uuid_utils import uuid7

from edr.errors import did_you_mean
from edr.links import address
from edr.links.errors import LinkRefusedError

try:
    from nats.aio.client import Client
    from nats.errors import InvalidCallbackTypeError
    from nats.protocol import command
except ImportError as _missing:
    raise ImportError("links to NATS need nats-py: install edr with its extra 'nats'") from _missing

Handler: TypeAlias = Callable[[int, bytes, bytes, bytes, bytes | None], None]
"""``handler(number, subject, reply, data, headers)``; it must not raise."""

OLDEST_SERVER = (2, 10)
"""Older servers ignore unknown settings, such as several filters of one consumer, and would send
all messages or none without an error."""

YIELD_EVERY = 64
"""Messages that are handed on before the event loop has a turn: some 2 ms."""

NO_RESPONDERS = 503
_PING = b"PING\r\n"
OURS = {
    "allow_reconnect",
    "closed_cb",
    "connect_timeout",
    "disconnected_cb",
    "error_cb",
    "max_reconnect_attempts",
    "name",
    "no_echo",
    "pending_size",
    "reconnect_time_wait",
    "servers",
}
"""Arguments of ``nats.connect`` that are not the caller's to give."""

_PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}
_FILES = ("user_credentials", "nkeys_seed")
"""Options that name a file. One that holds the secret itself by mistake must not be printed."""

_PERMISSION = re.compile(
    r"permissions violation for (publish|subscription) to \"([^\"]*)\"", re.IGNORECASE
)
_REFUSALS = ("authorization", "authentication", "credentials", "nkey", "user jwt", "tls")


def status_of(headers: bytes | None) -> int:
    """Return the status that the server put into ``headers``; 0 without one."""
    return int(headers[9:12]) if headers and headers[9:12].isdigit() else 0


def address_of(url: str) -> str:
    """Return a server's address, without the user name and the password of its URL.

    Raises:
        ValueError: it is not the URL of a NATS server. The message shows at most the scheme.
    """
    example = "nats://host:port, or tls://, ws:// or wss://"
    return address.address_of(url if "://" in url else f"nats://{url}", _PORTS, example)


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``options`` for the client, of which each must be an argument of ``nats.connect``.

    Raises:
        TypeError: ``nats.connect`` has no such argument.
        ValueError: the argument is one that a link sets itself.
    """
    known = set(inspect.signature(Client.connect).parameters) - OURS - {"self"}
    for name in options or ():
        if name in OURS:
            raise ValueError(f"client must not have {name!r}: the link sets it itself")
        if name not in known:
            raise TypeError(f"nats.connect has no argument {name!r}{did_you_mean(name, known)}")
    return dict(options or {})


def denied_by(words: str) -> tuple[str, str] | None:
    """Return what the server's ``words`` deny: ``"publish"`` or ``"subscription"``, and to what.

    ``None`` if the words do not deny a permission. The library gives them in lower case.
    """
    found = _PERMISSION.match(words)
    return None if found is None else (found[1].lower(), found[2])


class NotPermittedError(LinkRefusedError):
    """The server does not permit what was asked. Its words name the subject."""


class Connection(Client):
    """One connection to a NATS server, from ``open`` until ``lost`` or ``abort``."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: asyncio.Event = asyncio.Event()
        """Set when the connection has ended, for whatever reason."""
        self.fault: Exception | None = None
        """Why it has ended, or why it did not come about."""
        self.on_violation: Callable[[str], None] = lambda _: None
        """Called with the server's words when it did not permit something."""
        self._handlers: dict[int, Handler] = {}
        self._handled = 0
        self._answers_to = ""
        self._denied = ""
        """The server's words, if this connection may not receive answers."""
        self._questions = 0
        # By the last token of where the answer goes: the subject asked, and its answer.
        self._asked: dict[str, tuple[str, asyncio.Future[tuple[bytes, int]]]] = {}
        self._needs_tls = False
        self._has_login = False

    async def open(
        self, servers: Sequence[str], *, name: str, timeout: float, options: Mapping[str, Any]
    ) -> None:
        """Connect to one of ``servers``.

        Raises:
            LinkRefusedError: a server is too old, or will not let us in.
            Exception: whatever the library raises if none can be reached.
        """
        self._needs_tls = "tls" in options
        self._has_login = any(options.get(name) for name in ("user", "password", "token"))
        try:
            await self.connect(
                list(servers),
                name=name,
                allow_reconnect=False,
                # Each server is tried twice, and then NoServersError is raised.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                # This bus has its own events already.
                no_echo=True,
                connect_timeout=max(1, int(timeout)),
                error_cb=self._note,
                # No waiting in publish, from which a cancellation would not get out: the link
                # bounds what is on its way itself.
                pending_size=0,
                **options,
            )
        except LinkRefusedError:
            raise
        except Exception as exc:
            fault = self.fault or exc  # what the library raises last may only say "no servers"
            words = _words(fault, options)
            lower = words.lower()
            if any(word in lower for word in _REFUSALS) and "timeout" not in lower:
                raise LinkRefusedError(f"the server does not let this link in: {words}") from exc
            if _is_final(fault):
                raise LinkRefusedError(
                    f"the client cannot connect with its options: {words}"
                ) from exc
            raise fault from exc
        assert self._reading_task is not None
        self._reading_task.add_done_callback(self._reading_ended)
        version = self.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            raise LinkRefusedError(
                f"the server is NATS {version.major}.{version.minor}, and links need 2.10 or "
                "newer: older ones ignore filters that they do not know"
            )

    async def abort(self) -> None:
        """End the connection at once; what was not fenced may not have been sent. Idempotent."""
        self._status = Client.CLOSED
        self.lost.set()
        self._handlers.clear()
        made = (self._reading_task, self._flusher_task, self._ping_interval_task)
        tasks = [task for task in made if task is not None]
        for task in tasks:
            task.cancel()
        if self._transport is not None:
            writer = getattr(self._transport, "_io_writer", None)
            if writer is not None:
                writer.transport.abort()
            else:
                self._transport.close()  # type: ignore[no-untyped-call]
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # in which the transport closes its socket

    def new_inbox(self) -> str:
        """Return a subject that no other connection uses, under the inbox prefix of the client."""
        prefix = bytes(self._inbox_prefix).decode()
        return f"{prefix}.{uuid7().hex}"

    async def listen(self, pattern: str, handler: Handler) -> int:
        """Ask for ``pattern``, and return a number for ``unlisten``."""
        self._sid += 1
        number = self._sid
        self._handlers[number] = handler
        await self._send_command(command.sub_cmd(pattern, "", number))
        await self._flush_pending()
        return number

    async def unlisten(self, number: int) -> None:
        """Ask for that pattern no longer."""
        self._handlers.pop(number, None)
        await self._send_command(command.unsub_cmd(number, 0))
        await self._flush_pending()

    def publish_nowait(
        self, subject: str, payload: bytes, reply: str = "", headers: bytes = b""
    ) -> None:
        """Publish without the library's checks: the subject is one of ours, the size was looked at.

        ``headers`` are as on the wire, from ``NATS/1.0`` to the empty line.

        Raises:
            ConnectionError: the connection was lost.
        """
        if self._status != Client.CONNECTED:
            raise ConnectionError(str(self.fault or "the connection was lost"))
        to = (f"{subject} {reply}" if reply else subject).encode()
        if headers:
            size = len(headers) + len(payload)
            frame = b"HPUB %b %d %d\r\n%b%b\r\n" % (to, len(headers), size, headers, payload)
        else:
            frame = b"PUB %b %d\r\n%b\r\n" % (to, len(payload), payload)
        self._pending.append(frame)
        self._pending_data_size += len(frame)
        assert self._flush_queue is not None
        if self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def ask(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Send a request, and return the answer.

        Raises:
            TimeoutError: no answer arrived in time.
            ConnectionError: the connection was lost.
            LookupError: no service answers this subject.
            NotPermittedError: the server permits neither the question nor the answer, or not both.
        """
        if not self._answers_to:
            self._answers_to = self.new_inbox()
            await self.listen(f"{self._answers_to}.*", self._answered)
        if self._denied:
            raise NotPermittedError(self._denied)
        self._questions += 1
        key = str(self._questions)
        answer: asyncio.Future[tuple[bytes, int]] = asyncio.get_running_loop().create_future()
        self._asked[key] = subject, answer
        try:
            self.publish_nowait(subject, payload, f"{self._answers_to}.{key}")
            await self.wait_for(answer, timeout)
            data: bytes
            status: int
            data, status = answer.result()
        finally:
            del self._asked[key]
        if status == NO_RESPONDERS:
            raise LookupError(f"nobody answers to {subject}")
        return data

    def _answered(
        self, _number: int, subject: bytes, _reply: bytes, payload: bytes, headers: bytes | None
    ) -> None:
        _, answer = self._asked.get(subject[subject.rfind(b".") + 1 :].decode(), ("", None))
        if answer is not None and not answer.done():
            answer.set_result((payload, status_of(headers)))

    def _violated(self, words: str) -> None:
        """Fail the requests that were not permitted, and report other violations."""
        verb, denied_subject = denied_by(words) or ("", "")
        if self._answers_to and denied_subject == f"{self._answers_to}.*".lower():
            self._denied = words
            denied = [answer for _, answer in self._asked.values()]
        else:
            denied = [
                answer
                for subject, answer in self._asked.values()
                if verb == "publish" and denied_subject == subject.lower()
            ]
        for answer in denied:
            if not answer.done():
                answer.set_exception(NotPermittedError(words))
        if not denied:
            self.on_violation(words)

    async def fence(self, timeout: float) -> None:
        """Wait until the server has handled all that was sent before.

        Raises:
            TimeoutError: it did not answer.
            ConnectionError: the connection was lost.
        """
        answer = asyncio.get_running_loop().create_future()
        await self._send_ping(answer)
        await self.wait_for(answer, timeout)

    async def wait_for(self, answer: asyncio.Future[Any], timeout: float) -> None:
        """Wait until ``answer`` is done. It is never cancelled.

        If it were, the answer to a PING, coming late, would find it so and end the library's task
        that reads.

        Raises:
            TimeoutError, ConnectionError: as ``fence``.
        """
        lost = asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait({answer, lost}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not answer.done():
            if self.lost.is_set():
                raise ConnectionError(str(self.fault or "the connection was lost"))
            raise TimeoutError(f"the server did not answer within {timeout:g} s")

    # Overridden methods of the library

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
        # The library upgrades only to a server that requires TLS, not to one that offers it.
        if initial_connection and self._is_tls_asked() and info.get("tls_available"):
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _is_tls_asked(self) -> bool:
        server = self._current_server
        return self._needs_tls or (server is not None and server.uri.scheme in {"tls", "wss"})

    def _connect_command(self) -> bytes:
        """Return what is sent first, with the user name and the password in it."""
        server, transport = self._current_server, self._transport
        assert server is not None
        if self._is_tls_asked() and server.uri.scheme not in {"ws", "wss"}:
            writer = getattr(transport, "_io_writer", None)
            if writer is None or writer.get_extra_info("ssl_object") is None:
                raise LinkRefusedError(
                    "the server does not offer TLS, which the link requires; nothing was sent to it"
                )
        if not self._has_login:
            # The library sends what the URL has without decoding it.
            user, password = server.uri.username, server.uri.password
            if password is not None:
                self.options["user"], self.options["password"] = (
                    unquote(user or ""),
                    unquote(password),
                )
            elif user is not None:
                self.options["token"] = unquote(user)
        return super()._connect_command()

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(_PING)
        await self._flush_pending()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        handler = self._handlers.get(sid)
        if handler is not None:
            handler(sid, subject, reply, data, headers)
        self._handled += 1
        if not self._handled % YIELD_EVERY:
            await asyncio.sleep(0)

    async def _process_op_err(self, e: Exception) -> None:
        self.end(e)

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg:
            self._violated(err_msg.strip("'"))
        else:
            self.end(ConnectionError(f"the server ended the connection: {err_msg}"))

    async def _note(self, exc: Exception) -> None:
        self.fault = exc

    def end(self, fault: Exception) -> None:
        """Mark the connection as lost."""
        self.fault = fault
        self._status = Client.CLOSED
        self.lost.set()

    def _reading_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.fault = self.fault or ConnectionError(repr(task.exception()))
        self._status = Client.CLOSED
        self.lost.set()


def _is_final(exc: BaseException) -> bool:
    """Return whether a retry cannot help, because the fault is on this side."""
    if type(exc).__module__.partition(".")[0] == "nkeys":
        return True
    return isinstance(
        exc,
        TypeError
        | ImportError
        | AssertionError
        | binascii.Error
        | FileNotFoundError
        | IsADirectoryError
        | PermissionError
        | ssl.SSLCertVerificationError
        | InvalidCallbackTypeError,
    )


def _words(exc: BaseException, options: Mapping[str, Any]) -> str:
    """Return what ``exc`` says, without a secret that was given in place of a file's name."""
    if isinstance(exc, OSError) and exc.filename is not None:
        return f"{exc.strerror}: the file of {' or '.join(n for n in _FILES if n in options)}"
    return str(exc) or type(exc).__name__
