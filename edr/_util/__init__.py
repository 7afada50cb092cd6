"""Small parts that several packages of edr share. They import nothing else of edr.

Read the modules in this order; each imports only from those before it:
text, lazy, forks, opening, log, backoff, tasks, wakeup.
"""
