"""``StdinSource``: JSON lines from the standard input of the program."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from edr.records import Binding
from edr.sources.answers import Answer
from edr.sources.conversation import Conversation
from edr.sources.ingest import Ingest
from edr.sources.reading import InputReader
from edr.sources.reading_task import ReadingTask
from edr.sources.source import Counts, SourceStatistics, drain_within


def write_to_stderr(answer: Answer) -> None:
    """Write the JSON of ``answer`` to stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # it was closed
            sys.stderr.write(answer.to_json().decode() + "\n")
            sys.stderr.flush()


class StdinSource:
    """Reads JSON lines until the end of the input, and then writes one answer to stderr.

    A pipe cannot send its lines again. So while the journal cannot store, events are published
    again every 0.5 s until it stores them, or until ``drain``.

    Args:
        name: its name.
        ingest: stores the events.
        descriptor: the file descriptor to read.
        report: called with the answer.
    """

    kind: str = "source"
    bindings: Sequence[Binding] = ()
    is_durable: bool = True

    def __init__(
        self,
        name: str,
        ingest: Ingest,
        *,
        descriptor: int = 0,
        report: Callable[[Answer], object] = write_to_stderr,
    ) -> None:
        self.name: str = name
        self._ingest = ingest
        self._descriptor = descriptor
        self._report = report
        self._counts = Counts(name, ingest)
        self._conversation: Conversation | None = None
        self._task = ReadingTask(name, self._counts)

    async def start(self) -> None:
        """Start reading. Idempotent.

        Raises:
            OSError: the program has no such file descriptor.
        """
        if self._counts.state != "new":
            return
        self._conversation = Conversation(
            self._ingest,
            InputReader(self._descriptor),
            self._write,
            self._counts,
            answers_blank_lines=False,
            tries_again=True,
        )
        self._task.start(self._run(self._conversation))

    async def wait_ended(self) -> None:
        """Wait until the input has ended and its answer was written, or the source was stopped.

        A program that ends with its input stops after it. Any number of tasks may wait.
        """
        await self._task.wait_ended()

    async def drain(self, timeout: float | None = None) -> int:
        """Stop reading, store and answer the lines that were read, and return 0. Idempotent.

        Waiting and cancellation: see ``Source.drain``.
        """
        return await drain_within(timeout, lambda: self._task.stop(self._interrupt), self.aclose)

    async def aclose(self) -> None:
        """Close now. Idempotent."""
        await self._task.aclose()

    def statistics(self) -> SourceStatistics:
        """Return the counts of this moment."""
        return self._counts.statistics()

    def status(self) -> dict[str, Any]:
        """Return the state and the counts, as ``edr top`` shows them."""
        return self._counts.status()

    def _interrupt(self) -> None:
        if self._conversation is not None:
            self._conversation.stop()

    async def _run(self, conversation: Conversation) -> None:
        try:
            await conversation.run()
        except OSError as exc:
            self._counts.fault(logging.WARNING, "could not read its input: %s", exc)
        finally:
            self._counts.connections = 0
            self._counts.state = "ended"

    async def _write(self, answer: Answer) -> None:
        self._report(answer)
