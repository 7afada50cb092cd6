"""``context``: the account and the fields of every event that is emitted for a while.

A context variable holds them, so they apply to a request or a job, and to the tasks and threads
(``asyncio.to_thread``) that start within it. ``Bus.emit`` and the other emits read it, so it
applies to the module functions, to ``Emitter`` and to both log bridges too. ``publish`` sends an
event as it is.

A program that never opens a context pays one attribute look-up an emit: ``contexts.are_used``. A
look-up of the context variable instead would take a tenth of an emit without subscribers.
"""

import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

from edr.bus.event_factory import checked_account
from edr.records import snapshot


class EventContext(NamedTuple):
    """The account and fields of events that are emitted here. Returned by ``current_context``.

    Attributes:
        account_id: The account of events that name none themselves; None for no account.
        fields: The fields that each body has, unless it has them itself. They cannot change.
    """

    account_id: str | None
    fields: Mapping[str, Any]


class _Contexts:
    """Whether any context was ever opened in this process."""

    __slots__ = ("are_used",)

    def __init__(self) -> None:
        self.are_used: bool = False


contexts: _Contexts = _Contexts()

_NONE = EventContext(None, MappingProxyType({}))


class _Scope:
    """The value of the context variable: one entered context, and the one around it."""

    __slots__ = ("is_over", "outer", "value")

    def __init__(self, value: EventContext, outer: "_Scope | None") -> None:
        self.value = value
        self.outer = outer
        self.is_over = False


_scope: ContextVar[_Scope | None] = ContextVar("edr.context", default=None)


def _current() -> _Scope | None:
    scope = _scope.get()
    while scope is not None and scope.is_over:
        scope = scope.outer
    return scope


class context:  # noqa: N801 - used as a function is
    """Set the account and fields of every event that is emitted within a ``with`` block.

    ``with edr.context("acme", request_id="r1"):`` Contexts nest, and the inner one wins. An account
    that the emit or its ``Emitter`` names wins over the context's; so do fields of the body itself,
    and then those of the ``Emitter``.

    Tasks that start within the block keep the context for as long as they run. Where the block
    surrounds a ``yield``, the code that iterates is within it too, until the generator continues.
    A generator that is left early may be closed in another task; the context ends there as well.

    Args:
        account_id: The account; without one, that of the surrounding context.
        fields: Further fields of each body. They must be JSON.

    Raises:
        InvalidEventError: The account is not a non-empty string, or a field is not JSON.
        RuntimeError: It was entered before; call ``edr.context`` for each block.
    """

    __slots__ = ("_account_id", "_fields", "_scope", "_token")

    def __init__(self, account_id: str | None = None, **fields: Any) -> None:
        self._account_id = account_id if account_id is None else checked_account(account_id)
        self._fields = snapshot(fields)
        self._scope: _Scope | None = None

    def __enter__(self) -> EventContext:
        """Set the context, and return it merged with the surrounding one."""
        if self._scope is not None:
            raise RuntimeError("a context can be entered once; call edr.context for each block")
        contexts.are_used = True
        outer = _current()
        around = _NONE if outer is None else outer.value
        value = EventContext(
            around.account_id if self._account_id is None else self._account_id,
            MappingProxyType({**around.fields, **self._fields}),
        )
        self._scope = _Scope(value, outer)
        self._token = _scope.set(self._scope)
        return value

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the surrounding context."""
        assert self._scope is not None
        try:
            _scope.reset(self._token)
        except ValueError:
            # A generator was left, and asyncio or the garbage collector closes it in another
            # context. In the one where it was entered this is still set; so it is marked.
            self._scope.is_over = True

    def __del__(self) -> None:
        if getattr(self, "_scope", self) is None:  # not where __init__ raised
            warnings.warn(
                "edr.context was not entered, so it applied to no event; write "
                "`with edr.context(…):`",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


def current_context() -> EventContext:
    """Return the account and the fields that apply to an event that is emitted here.

    Outside of any ``edr.context``: no account, and no fields. From any thread.
    """
    scope = _current()
    return _NONE if scope is None else scope.value


def in_context(
    body: Mapping[str, Any], account_id: str | None
) -> tuple[Mapping[str, Any], str | None]:
    """Return the body and the account of an event that is emitted here."""
    scope = _current()
    if scope is None:
        return body, account_id
    if account_id is None:
        account_id = scope.value.account_id
    return with_fields(scope.value.fields, body), account_id


def with_fields(fields: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``body`` with those of ``fields`` that it does not have; as it is if not an object."""
    if not fields or not issubclass(type(body), Mapping):
        return body
    # A subclass of dict may have other items() than content; the items are what counts.
    return {**fields, **(body if type(body) is dict else dict(body.items()))}
