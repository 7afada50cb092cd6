"""``run_program``: the process of ``edr run``: signals, reloads, systemd, exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from edr._util.log import log_safely
from edr.app.application import Application, ReloadResult, StopResult
from edr.app.config import (
    Configuration,
    ConfigurationError,
    Fault,
    LinkConfig,
    Note,
    SecretError,
    StdinSourceConfig,
    blocking_consumers,
    consumers_without_part,
    faults_at_open,
    load,
)
from edr.app.notify import Notifier
from edr.app.setup import make_application
from edr.errors import EdrError
from edr.journal import JournalInUseError
from edr.sources import StdinSource

DONE = 0
UNFINISHED = 75
"""Events were lost, or the journal is in use: ``EX_TEMPFAIL`` of ``sysexits.h``."""
CONFIGURATION = 78
"""The configuration has faults, or the journal or a socket cannot be used: ``EX_CONFIG``."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

START_INTERVAL = 10.0
"""Seconds between two messages to the service manager that the start continues. The repair of a
large journal takes minutes."""

START_EXTENSION = 60.0
"""Seconds that each of these messages asks for. After a start that hangs the loop, systemd ends the
process when they are over."""

STOP_GRACE = 15.0
"""Seconds for the stop after ``shutdown_timeout``: parts close, and the journal stores its rest."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the configuration file with ``--watch``."""

_logger = logging.getLogger("edr.app")


class Program:
    """Runs the application of a configuration file until a signal ends it.

    SIGTERM and SIGINT stop it in order; a second one ends the process at once. SIGHUP reloads.
    Signals during a reload cause one more reload after it.

    Args:
        path: the configuration file. It is read again by each reload.
        watch: reload when the file changes.
        notifier: tells the service manager; by default that of the environment.
        read: reads the file, at the start and at each reload.
    """

    def __init__(
        self,
        path: Path,
        *,
        watch: bool = False,
        notifier: Notifier | None = None,
        read: Callable[[Path], Configuration] = load,
    ) -> None:
        self._path = path
        self._read = read
        self._watch = watch
        self._notifier = notifier or Notifier()
        self._application: Application | None = None
        self._reload_requested = asyncio.Event()

    async def run(self) -> int:
        """Run until the end, and return the exit code."""
        try:
            version = self._version()
            configuration = self._read(self._path)
            check_consumers(configuration, self._path)
            application = self._application = make_application(configuration, reload=self._reload)
        except (EdrError, OSError) as exc:
            print_error(str(exc))
            return CONFIGURATION
        loop = asyncio.get_running_loop()
        before = {each: signal.getsignal(each) for each in STOP_SIGNALS}

        def on_stop_signal(number: int, _: object) -> None:
            # Not a handler of the loop: from here on each signal ends the process at once, also one
            # that arrives before the loop has handled this one.
            for each in STOP_SIGNALS:
                signal.signal(each, last_handler(os.getpid()))
            loop.call_soon_threadsafe(self._stop, signal.Signals(number).name)

        for each in STOP_SIGNALS:
            signal.signal(each, on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload_requested.set)
        tasks = [
            loop.create_task(work)
            for work in (
                self._announce(),
                self._reload_on_request(),
                self._watch_file(version),
                self._stop_with_input(),
            )
        ]
        try:
            return exit_code_of(await application.run())
        except (EdrError, OSError) as exc:
            print_error(str(exc))
            return UNFINISHED if isinstance(exc, JournalInUseError) else CONFIGURATION
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.remove_signal_handler(signal.SIGHUP)
            for each, handler in before.items():
                signal.signal(each, handler)

    def _stop(self, name: str) -> None:
        log_safely(
            logging.INFO,
            "%s received; another one ends the process at once",
            name,
            logger=_logger,
        )
        assert self._application is not None
        timeout = self._application.configuration.app.shutdown_timeout
        self._notifier.stopping(timeout + STOP_GRACE)
        self._application.stop()

    async def _stop_with_input(self) -> None:
        """Stop after the standard input has ended, if events come from nowhere else."""
        application = self._application
        assert application is not None
        await application.wait_started()
        while True:
            inputs = [each.part for each in application.runners if each.kind == "source"]
            if not ends_with_input(application.configuration):
                await asyncio.sleep(WATCH_INTERVAL)
                continue
            for each in inputs:
                if isinstance(each, StdinSource):
                    await each.wait_ended()
            if ends_with_input(application.configuration):
                application.stop()
                return

    # Service manager

    async def _announce(self) -> None:
        assert self._application is not None
        started = asyncio.ensure_future(self._application.wait_started())
        try:
            while not (await asyncio.wait([started], timeout=START_INTERVAL))[0]:
                self._notifier.starting(START_EXTENSION)
        finally:
            started.cancel()
        if self._application.state == "running":
            self._notifier.ready()
        if self._notifier.watchdog_interval is not None:
            while True:
                self._notifier.alive()
                await asyncio.sleep(self._notifier.watchdog_interval)

    # Reload

    async def _reload(self) -> dict[str, object]:
        """Reload, and return the outcome for ``edr reload``."""
        result, notes = await self._load_again()
        return {
            "changed": [f"{name} {action}" for action, name in result.changed],
            "failed": [f"{name}: {reason}" for name, reason in result.failed],
            "warnings": [each.message for each in notes],
        }

    async def _load_again(self) -> tuple[ReloadResult, tuple[Note, ...]]:
        assert self._application is not None
        self._notifier.reloading()
        try:
            configuration: Configuration = await asyncio.to_thread(self._read, self._path)
            result = await self._application.reload(configuration)
        except (ConfigurationError, SecretError) as exc:
            self._application.reload_ok = False
            log_safely(
                logging.ERROR, "the reload changed nothing: %s", _in_one_line(exc), logger=_logger
            )
            raise
        finally:
            self._notifier.ready()
        log_safely(
            logging.INFO,
            "the configuration was reloaded; parts changed: %d, failed: %d",
            *(len(result.changed), len(result.failed)),
            logger=_logger,
        )
        notes = await asyncio.to_thread(blocking_consumers, configuration)
        for note in notes:
            log_safely(logging.WARNING, "%s", note.message, logger=_logger)
        return result, notes

    async def _reload_on_request(self) -> None:
        assert self._application is not None
        await self._application.wait_started()
        while True:
            await self._reload_requested.wait()
            # Cleared before the file is read: a signal from now on causes one more reload.
            self._reload_requested.clear()
            try:
                await self._load_again()
            except (ConfigurationError, SecretError):
                pass  # it was logged
            except Exception as exc:  # the next request must still be served
                log_safely(logging.ERROR, "the reload failed: %r", exc, exc=exc, logger=_logger)

    async def _watch_file(self, version: object) -> None:
        while self._watch:
            await asyncio.sleep(WATCH_INTERVAL)
            current = self._version()
            if current != version and current is not None:
                version = current
                self._reload_requested.set()

    def _version(self) -> object:
        with suppress(OSError):
            stat = self._path.stat()
            return stat.st_mtime_ns, stat.st_size, stat.st_ino
        return None


def check_consumers(configuration: Configuration, path: Path) -> None:
    """Log the consumers of the journal that no part of the configuration has.

    Raises:
        ConfigurationError: they would stop all sources, as the journal waits for them when it is
            full.
    """
    without_part = consumers_without_part(configuration)
    for name in without_part:
        log_safely(
            logging.INFO,
            "consumer %s has no part; its events are kept, and edr journal forget removes it",
            name,
            logger=_logger,
        )
    if faults := list(faults_at_open(configuration, without_part)):
        raise ConfigurationError(
            str(path), [Fault(".".join(map(str, place)), None, text) for place, text in faults]
        )


def last_handler(pid: int) -> Callable[[int, object], object] | signal.Handlers:
    """Return the handler of the second signal, which ends the process ``pid`` at once.

    The kernel ignores a signal without a handler for process 1, which a container starts with.
    """
    return signal.SIG_DFL if pid != 1 else lambda number, _: os._exit(128 + number)


def ends_with_input(configuration: Configuration) -> bool:
    """Return whether all events come from the standard input, so that its end is the end."""
    sources = [part for kind, _, part in configuration.parts() if kind == "source"]
    links = [part for _, _, part in configuration.parts() if isinstance(part, LinkConfig)]
    return (
        bool(sources)
        and all(isinstance(each, StdinSourceConfig) for each in sources)
        and not any(each.receive for each in links)
    )


def _in_one_line(error: Exception) -> str:
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines())


def exit_code_of(result: StopResult) -> int:
    """Print what was not delivered, and return the exit code."""
    for name, count in result.kept.items():
        log_safely(
            logging.INFO,
            "%s has %d entries in the journal for the next start",
            *(name, count),
            logger=_logger,
        )
    if not result.lost:
        return DONE
    lost = ", ".join(f"{name} {count:,}" for name, count in result.lost.items())
    print_error(f"events were lost: {lost}")
    return UNFINISHED


def print_error(text: str) -> None:
    """Print a message of ``edr run``."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"edr: {text}\n")
            sys.stderr.flush()


def set_up_logging(level: int = logging.INFO) -> None:
    """Write the log lines of edr to stderr, one line for each change of state."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("edr")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _LineFormatter(logging.Formatter):
    default_time_format = "%H:%M:%S"


def run_program(
    path: Path,
    *,
    watch: bool = False,
    kazoo_node: str | None = None,
    kazoo_zone: str | None = None,
) -> int:
    """Run the application of the configuration file ``path``, and return the exit code.

    0: it was stopped, and every event was delivered or is in the journal. 75: events without a
    journal were lost, or the journal is in use. 78: the configuration cannot be used.
    """
    set_up_logging()
    read = partial(load, kazoo_node=kazoo_node, kazoo_zone=kazoo_zone)

    async def main() -> int:
        return await Program(path, watch=watch, read=read).run()

    return asyncio.run(main())
