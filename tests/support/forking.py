"""Fork a test process on purpose."""

import os
import warnings


def fork():
    """Return what ``os.fork`` returns, without its warning about the threads of this process.

    From 3.12 on Python warns that a child may deadlock on a lock of a thread that it does not have.
    The tests fork because users do, and their children leave through ``os._exit``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        return os.fork()
