"""Suites that every implementation of an interface passes; a test module names one, and is done."""
