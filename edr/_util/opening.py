"""``Opening``: a resource that a caller awaits, or enters with ``async with``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """A resource with ``aclose``."""

    async def aclose(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Opening(Generic[T]):
    """A resource that is about to open: await it, or enter it with ``async with``.

    ``resource = await opening`` returns the open resource, which the caller closes with ``aclose``.
    ``async with opening as resource`` closes it at the end of the block. Each opens a new resource.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._start = start
        self._resource: T | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._start().__await__()

    async def __aenter__(self) -> T:
        self._resource = await self._start()
        return self._resource

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._resource is not None
        await self._resource.aclose()
