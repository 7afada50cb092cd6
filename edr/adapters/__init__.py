"""Somebody else's framework, and events: logging, structlog, Prometheus, OpenTelemetry.

One module for each, imported by its own name, since it needs what it adapts to: the extras
``structlog``, ``prometheus`` and ``opentelemetry``; logging comes with Python.

Promises:

* A log handler waits for nobody, from any thread, and raises nothing. All that it was given is
  counted: as passed on, looped, or dropped, by reason.
* Log records that become events, events that become log records, and callbacks that log, all at
  once, are bounded: a record is one event, and never comes back.
* A page of metrics that is read in a thread, while subscriptions come and go, is well-formed, and
  no counter on it ever falls.
* Only a subscription that was given a name has metrics of its own; the sums are of all.

Read the modules in this order; each imports only from those before it:
bridge, logging, structlog, named_counts, consumer_counts, measures, prometheus, opentelemetry.
"""

__all__: list[str] = []
