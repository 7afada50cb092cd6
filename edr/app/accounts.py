"""``accounts_of``: where the application finds the ancestors of an account.

They come from the configuration, never from a sender: a tenant could otherwise write itself into
the tree of another one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from edr._util.log import log_safely
from edr.app.config import AccountsConfig, ConfigurationError, Fault
from edr.app.functions import load_function
from edr.bus import AccountResolver, AccountTree

_logger = logging.getLogger("edr.app")


class AccountsFile:
    """The tree of a JSON file: an object with the parent of each account. A change is used.

    Args:
        path: the file.

    Raises:
        ValueError, OSError: it cannot be read, or is not such an object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._stat()
        self._tree = self._read()

    def ancestors(self, account_id: str) -> Sequence[str]:
        """Return the ancestors, root first; empty for a root or an unknown account."""
        try:
            if (version := self._stat()) != self._version:
                self._version = version
                self._tree = self._read()
        except (OSError, ValueError) as exc:
            log_safely(
                logging.ERROR,
                "the accounts file %s cannot be read, and the last accounts are used: %s",
                *(self._path, exc),
                logger=_logger,
            )
        return self._tree.ancestors(account_id)

    def _stat(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> AccountTree:
        document = json.loads(self._path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError("it must be a JSON object with the parent of each account")
        return AccountTree(document)


class AccountsFunction:
    """A function of the user's that returns the ancestors.

    Args:
        function: takes the id of an account, and returns its ancestors, or an awaitable of them.
    """

    def __init__(self, function: Any) -> None:
        self._function = function

    def ancestors(self, account_id: str) -> Sequence[str] | Awaitable[Sequence[str]]:
        """Return the result of the function."""
        result: Sequence[str] | Awaitable[Sequence[str]] = self._function(account_id)
        return result


def accounts_of(configuration: AccountsConfig | None) -> AccountResolver | None:
    """Return the resolver for ``Bus(accounts=…)``; ``None`` without a configuration.

    Raises:
        ConfigurationError: the file or the function cannot be used.
    """
    if configuration is None:
        return None
    try:
        if configuration.file is not None:
            return AccountsFile(configuration.file)
        return AccountsFunction(load_function(str(configuration.callable)))
    except Exception as exc:  # an import runs code of the user
        message = f"cannot be used: {type(exc).__name__}: {exc}"
        key = "file" if configuration.file is not None else "callable"
        fault = Fault(f"app.accounts.{key}", None, message)
        raise ConfigurationError("the configuration", [fault]) from exc
