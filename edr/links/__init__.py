"""Links between a bus and a broker: the events of each are emitted on the other.

Read the modules in this order; each imports only from those before it:
errors, statistics, log, dedup, storing, inbound, transport, interest, link, subject, nats_client,
nats, stream_api, stream_acks, stream_appender, stream_pulls, stream_retention, stream_start,
stream_cursor, stream_checkpoints, stream_metadata, stream_durable, stream_unacked, stream_consumer,
stream_session,
jetstream, rabbitmq_keys, rabbitmq_acks, rabbitmq_confirms, rabbitmq_client, rabbitmq_consumer,
rabbitmq_publisher, rabbitmq, connect.

Promises: an emit never waits, hangs or raises because of a broker. Every loss is counted. A remote
event reaches exactly the subscriptions that it would reach if it had been emitted here. Each link
documents its further promises.

The client libraries are extras (``edr[nats]``, ``edr[rabbitmq]``). They are loaded when a link is
first used.
"""

from typing import TYPE_CHECKING

from edr._util.lazy import lazy_names, show_in_facade
from edr.delivery import ConnectionState
from edr.links.connect import connect
from edr.links.errors import LinkError, LinkRefusedError
from edr.links.link import Link
from edr.links.statistics import DROP_REASONS, REFUSE_REASONS, LinkStatistics
from edr.links.subject import patterns_of, permissions_of, subject_of

if TYPE_CHECKING:
    from edr.links.jetstream import JetStreamJournal
    from edr.links.nats import NatsLink
    from edr.links.rabbitmq import RabbitLink
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "edr.links.jetstream": "JetStreamJournal",
            "edr.links.nats": "NatsLink",
            "edr.links.rabbitmq": "RabbitLink",
        },
    )

__all__ = [
    "DROP_REASONS",
    "REFUSE_REASONS",
    "ConnectionState",
    "JetStreamJournal",
    "Link",
    "LinkError",
    "LinkRefusedError",
    "LinkStatistics",
    "NatsLink",
    "RabbitLink",
    "connect",
    "patterns_of",
    "permissions_of",
    "subject_of",
]

show_in_facade(__name__)
