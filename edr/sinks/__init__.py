"""Sinks: deliver events to a receiver outside the process, at least once and in order.

The author of a sink writes three methods: ``open``, ``write(batch)`` and ``aclose``. A
``SinkWorker`` does everything else: it collects batches, repeats what failed, writes dead letters,
acknowledges what was delivered, and reports its state.

Promises:

* **At least once, in order.** A durable sink gets every matching event, by rising position. Events
  repeat only after a crash, or after an answer that was lost.
* **Settled before acknowledged.** An event is acknowledged after ``write`` has returned, or after
  the dead letters are on the disk.
* **Isolation.** A sink that fails, hangs or raises does not delay another one, or the end.
* **Reported loss.** Each event that is not delivered is counted, logged, and reported in an alert.

Read the modules in this order; each imports only from those before it:
errors, sink, options, encoding, pacing, sending, recording, intake, collecting, files, appending,
dead_letters, alerts, state, health, guarded_sink, settling, delivering, step_loop, worker,
rotation, file, stdout, link_counts, link_health, link_part, signing, http_answers, http_excerpt,
http.

``HttpSink`` needs the extra ``http``, and is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names
from edr.sinks.dead_letters import DeadLetter, DeadLetters
from edr.sinks.encoding import FORMS, Encoded, Encoder
from edr.sinks.errors import RefusedError, RejectError, RetryError
from edr.sinks.file import FileSink
from edr.sinks.intake import Intake, JournalIntake, QueueIntake
from edr.sinks.link_part import LinkPart
from edr.sinks.options import Batch, Retry
from edr.sinks.recording import Recording
from edr.sinks.rotation import Rotate
from edr.sinks.signing import Signer
from edr.sinks.sink import Sink
from edr.sinks.state import SinkState, SinkStatistics
from edr.sinks.stdout import StdoutSink
from edr.sinks.worker import SinkWorker

if TYPE_CHECKING:
    from edr.sinks.http import HttpSink
else:
    __getattr__, __dir__ = lazy_names(__name__, {"edr.sinks.http": "HttpSink"})

__all__ = [
    "FORMS",
    "Batch",
    "DeadLetter",
    "DeadLetters",
    "Encoded",
    "Encoder",
    "FileSink",
    "HttpSink",
    "Intake",
    "JournalIntake",
    "LinkPart",
    "QueueIntake",
    "Recording",
    "RefusedError",
    "RejectError",
    "Retry",
    "RetryError",
    "Rotate",
    "Signer",
    "Sink",
    "SinkState",
    "SinkStatistics",
    "SinkWorker",
    "StdoutSink",
]
