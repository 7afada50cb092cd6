"""The application ``edr run``: sources, a journal, and one named consumer for each sink.

``docs/running.md`` is the manual.

Promises:

* **Order of start and stop.** Every consumer exists before a source reads. Sources stop first, and
  the bus closes last.
* **Accepted events are delivered.** They are delivered, or are in the journal for the next start.
* **Isolation.** A part that fails, hangs or raises does not delay the others, a reload or the stop.
* **All or nothing.** A faulty configuration changes nothing. A reload does not touch unchanged
  parts.
* **Reported loss.** Events that are lost at the stop are named in the exit.

Its names are loaded when they are first used.

Read the modules in this order; each imports only from those before it:
config, parts, changes, application, functions, accounts, gateway, factory, link_sink, dead_letters,
notify, metrics, server, setup, program.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names

if TYPE_CHECKING:
    from edr.app.application import Application, ReloadResult, StopResult
    from edr.app.program import Program, run_program
    from edr.app.setup import make_application
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.app.application": "Application ReloadResult StopResult",
            "edr.app.program": "Program run_program",
            "edr.app.setup": "make_application",
        },
    )

__all__ = [
    "Application",
    "Program",
    "ReloadResult",
    "StopResult",
    "make_application",
    "run_program",
]
