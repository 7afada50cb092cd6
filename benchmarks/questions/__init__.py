"""One module for each question. ``python -m benchmarks.questions.fanout`` answers one of them."""
