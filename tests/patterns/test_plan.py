"""The choice of access predicates."""

import pytest
from support.pattern_samples import index_of

import edr.patterns.index
import edr.patterns.nodes


def test_an_or_takes_as_many_access_predicates_as_it_has_leaves():
    alternatives = {"$or": [{"a": [1]}, {"b": [1]}]}
    index = index_of({f"f{number}": alternatives for number in range(9)})

    (entry,) = index._entries.values()
    assert len(entry.conjunctions) == 2
    assert index.match({f"f{number}": {"b": 1} for number in range(9)}) == [0]


def candidates(index, body):
    """How many patterns a body meets by their access predicates alone."""
    tried = []
    of_try = edr.patterns.index._try

    def counting(accesses, match):
        accesses = list(accesses)
        tried.extend(each for access in accesses for each in access.conjunctions)
        of_try(accesses, match)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(edr.patterns.index, "_try", counting)
        index.match(body)
    return len(tried)


@pytest.mark.parametrize(
    ("make", "body"),
    [
        (lambda n: {"numeric": [">=", n + 10]}, 5),
        (lambda n: {"numeric": [">=", 0, "<", 5 - n / 1_000]}, 5),
        (lambda n: {"numeric": [">", n, "<=", n + 1]}, 700.5),
        (lambda n: {"numeric": ["<", -n]}, 5),
        (lambda n: {"wildcard": f"*order-created-{n:06}*"}, "an order-created-000700 here"),
        (lambda n: {"wildcard": f"*-{n:06}-order-created*"}, "an x-000700-order-created"),
        (lambda n: {"wildcard": f"or*{n:06}"}, "order-000700"),
        (lambda n: {"prefix": f"/tenants/{n:06}/"}, "/tenants/000700/x"),
        (lambda n: {"suffix": {"equals-ignore-case": f".{n:06}.DE"}}, "x.000700.de"),
        (lambda n: {"cidr": f"10.{n // 256}.{n % 256}.0/24"}, "10.1.7.3"),
    ],
    ids=range(10),
)
def test_a_common_type_beside_it_makes_no_list_of_a_rare_condition(make, body):
    index = index_of(*({"type": ["order"], "x": [make(n)]} for n in range(1_000)))

    # A few were added before anything was known of how many ask for the same.
    assert candidates(index, {"type": "order", "x": body}) <= 20


@pytest.mark.parametrize(
    ("shared", "value"),
    [
        ({"wildcard": "*-created*in*"}, "order-created 7 in 5 ms"),
        ({"wildcard": "order*ms"}, "order 7 ms"),
        ({"prefix": "order"}, "order 7"),
        ({"numeric": [">", 1]}, 5),
        ({"numeric": [">", 1, "<", 90]}, 5),
        ({"cidr": "10.0.0.0/8"}, "10.1.2.3"),
    ],
    ids=str,
)
def test_a_condition_that_many_share_is_not_the_access_of_a_type(shared, value):
    index = index_of(*({"type": [f"t{n % 50}"], "x": [shared, f"own-{n}"]} for n in range(1_000)))

    assert len(index.match({"type": "t0", "x": value})) == 20
    assert candidates(index, {"type": "t0", "x": value}) < 100


def test_a_type_of_its_own_is_better_than_a_range_that_nearly_all_share():
    index = index_of(
        *({"type": [f"t{n}"], "x": [{"numeric": [">=", 0, "<", n + 1_000]}]} for n in range(1_000))
    )

    assert index.match({"type": "t7", "x": 5}) == [7]
    assert candidates(index, {"type": "t7", "x": 5}) <= 5
