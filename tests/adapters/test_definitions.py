"""The table of the measures. tests/package/test_operations.py compares it with the manual."""

from edr.adapters.definitions import DEFINITIONS


def test_each_name_is_defined_once():
    names = [name for name, *_ in DEFINITIONS]

    assert len(names) == len(set(names))
