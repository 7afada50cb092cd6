"""Adapters for logging, structlog, Prometheus and OpenTelemetry.

Import each module by its own name. All but ``logging`` need the extra of the same name:
``structlog``, ``prometheus`` or ``opentelemetry``.

Promises:

* A log handler never waits and never raises, in any thread. It counts every record: as passed on,
  as looped, or as dropped, by reason.
* Bridges in both directions and callbacks that log cannot loop: a record becomes one event, and
  the event of a record is not logged again.
* A metrics page is consistent when it is read in a thread while subscriptions come and go. No
  counter on it ever decreases.
* Named subscriptions have metrics of their own. The sums cover all subscriptions.

Read the modules in this order; each imports only from those before it:
bridge, logging, structlog, definitions, named_counts, consumer_counts, part_counts, measures,
prometheus, opentelemetry.
"""

__all__: list[str] = []
