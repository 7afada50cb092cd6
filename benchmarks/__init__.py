"""Benchmarks: what edr costs, beside the hand-written floor and its peers, in one run.

``python -m benchmarks`` asks every question; ``python -m benchmarks.bench_fanout`` asks one.
Read ``harness`` (how it is measured), ``samples`` (what is sent), ``peers`` (who is measured).
"""
