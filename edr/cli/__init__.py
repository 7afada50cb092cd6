"""The ``edr`` command: see into a running process from a shell.

Each command is a module with a function of its name. The package loads neither pydantic nor rich,
so that a command starts quickly: a command that needs one of them imports it when it runs. Its
other parts are of the extra ``edr[cli]``.

Read the modules in this order; each imports only from those before it:
exits, filters, describe, units, health, cells, output, table, event_lines, process, sources,
stdout_closed, event_input, input_thread, emitting, ls, status, tail, top_rows, top_view, screen,
top, explain, emit, bindings, journal, replay, kazoo_flags, check, init, run, reload, sink, dead,
help_page, main.
"""
