"""The measuring (``harness``), its data (``samples``, ``population``) and its reports."""
