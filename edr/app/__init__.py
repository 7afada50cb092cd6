"""The application ``edr run``: sources, a journal, and one named consumer for each sink.

Read the modules in this order; each imports only from those before it:
config.
"""
