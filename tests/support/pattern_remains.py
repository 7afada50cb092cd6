"""What must be gone from an index when its patterns are."""


def assert_nothing_remains(index):
    assert not index
    assert not index._root.children
    assert not index._root.absences
    assert not index._conditions
    assert not index._entries
