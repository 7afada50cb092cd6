"""Notices that the reader of stdout has ended, before the next line is written.

``edr tail | head -1`` must end with ``head``, also if no further event comes.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_stdout_closed(callback: Callable[[], object]) -> Iterator[None]:
    """Call ``callback`` in the running loop when the reader of stdout has ended.

    Only pipes and sockets have a reader. On other files, nothing is called.
    """
    loop = asyncio.get_running_loop()
    descriptor = _descriptor_of_pipe()
    if descriptor is None:
        yield
        return
    # The end of a pipe to which we write is never readable. The selector reports its error.
    loop.add_reader(descriptor, callback)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


def _descriptor_of_pipe() -> int | None:
    try:
        descriptor = sys.stdout.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # a stream without a file
        return None
    return descriptor if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
