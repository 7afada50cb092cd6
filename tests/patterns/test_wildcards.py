"""Wildcards in an index."""

import pytest
from support.pattern_samples import index_of

from edr.patterns.scalar_set import Wildcard


@pytest.mark.parametrize("count", [3, 100])
def test_wildcards_are_found_by_few_and_by_many_literals(count):
    index = index_of(*({"a": [{"wildcard": f"*-{number}-*x*"}]} for number in range(count)))

    assert index.match({"a": "order-2-x"}) == [2]
    assert index.match({"a": "a long text that names -1-, and only then an x"}) == [1]
    assert index.match({"a": "x-2"}) == []


def test_wildcards_never_backtrack():
    class Text(str):
        __slots__ = ()
        finds = 0

        def find(self, *args):
            Text.finds += 1
            return super().find(*args)

    pieces = ("", *"a" * 62, "b", "")

    assert not Wildcard(pieces).test()(Text("b" + "a" * 400))
    assert Text.finds == 63
