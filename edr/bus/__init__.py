"""The asyncio part of edr: how events travel within a process.

Read the modules in this order; each imports only from those before it:
overflow, statistics, queue, subscription, backpressure, accounts, log, callbacks, routes, inbox,
bus, default, emitter.
"""
