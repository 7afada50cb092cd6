"""Adapters for logging, structlog, Prometheus, OpenTelemetry and ASGI applications.

Import each module by its own name. Three of them need the extra of the same name: ``structlog``,
``prometheus`` and ``opentelemetry``.

Promises:

* A log handler never waits and never raises, in any thread. It counts every record: as passed on,
  as looped, or as dropped, by reason.
* Bridges in both directions and callbacks that log cannot loop: a record becomes one event, and
  the event of a record is not logged again.
* A metrics page is consistent when it is read in a thread while subscriptions come and go. No
  counter on it ever decreases.
* Named subscriptions have metrics of their own. The sums cover all subscriptions.
* An event that is emitted in a request has the account and the id of that request, and of no other,
  also in the tasks and threads that the request starts.
* The lifespan of an application drains its bus after the last request. Event streams that are open
  at SIGTERM do not delay it, if ``before_exit`` ends them.

Read the modules in this order; each imports only from those before it:
bridge, logging, structlog, definitions, named_counts, consumer_counts, part_counts, measures,
prometheus, opentelemetry, before_exit, asgi.
"""

__all__: list[str] = []
