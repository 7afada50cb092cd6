"""``python -m edr`` and the command ``edr``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of the process. Without ``edr[cli]``, print the package to install."""
    try:
        from edr.cli.main import main as run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        if exc.name != "cyclopts":
            raise
        sys.stderr.write("edr: the command needs cyclopts: pip install 'edr[cli]'\n")
        return 78  # EX_CONFIG, as edr.cli.exits.Exit.CONFIGURATION
    return run()


if __name__ == "__main__":
    sys.exit(main())
