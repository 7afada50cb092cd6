"""``python -m edr`` and the command ``edr``."""

from __future__ import annotations

import gc
import sys

COLLECT_AFTER = 20_000
"""New objects after which the garbage collector runs. With Python's 700, the collections during the
imports are 4 % of the CPU of a short command. Garbage of this number takes some megabytes."""


def main() -> int:
    """Run the command line of the process. Without ``edr[cli]``, print the package to install."""
    gc.set_threshold(COLLECT_AFTER)
    try:
        from edr.cli.main import main as run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        if exc.name != "cyclopts":
            raise
        sys.stderr.write("edr: the command needs cyclopts: pip install 'edr[cli]'\n")
        return 78  # EX_CONFIG, as edr.cli.exits.Exit.CONFIGURATION
    code = run()
    gc.freeze()  # the collection at exit, of all modules, is 6 % of the CPU of a short command
    return code


if __name__ == "__main__":
    sys.exit(main())
