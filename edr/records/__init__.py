"""The pure part of edr: what an event is, what a binding wants, and who matches.

Read the modules in this order; each imports only from those before it:
levels, body, model, event, pattern, binding, trie.
"""
