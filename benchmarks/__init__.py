"""Benchmarks: what edr costs, measured in one run with the hand-written loop and other libraries.

``python -m benchmarks`` answers every question; ``python -m benchmarks.questions.fanout`` one.
Read ``harness`` (how it is measured, and with which events), ``peers`` (what it is compared with),
then ``questions``.
"""
