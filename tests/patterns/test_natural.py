"""Patterns as the documentation and the blogs of EventBridge have them are accepted."""

import json
from string import ascii_letters, digits

import pytest

from edr import InvalidBindingError
from edr.patterns import Limits, Pattern

INSTANCE_TYPES = ["*.medium", "*.large", "*.xlarge", "t2*micro", "m5*metal"]
NATURAL = {
    "values": {"source": ["aws.ec2"], "detail": {"state": ["terminated", "stopped"]}},
    "prefix": {"time": [{"prefix": "2017-10-02"}], "region": [{"prefix": "eu-"}]},
    "prefix, any case": {"source": [{"prefix": {"equals-ignore-case": "EventB"}}]},
    "five prefixes": {
        "path": [{"prefix": p} for p in ("/api/", "/health", "/metrics", "/v1/users", "/x")]
    },
    "two prefixes": {"type": [{"prefix": "order."}, {"prefix": "invoice."}]},
    "suffix": {"FileName": [{"suffix": ".png"}]},
    "suffix, any case": {"FileName": [{"suffix": {"equals-ignore-case": ".png"}}]},
    "five suffixes": {
        "key": [{"suffix": s} for s in (".png", ".jpeg", ".gz", ".h", ".parquet")]
    },
    "prefix and suffix": {"key": [{"prefix": "uploads/"}, {"suffix": ".jpg"}]},
    "values and prefixes": {
        "detail": {"eventName": ["RunInstances", {"prefix": "Create"}, {"prefix": "Delete"}]}
    },
    "any case": {
        "detail-type": [{"equals-ignore-case": "ec2 instance state-change notification"}]
    },
    "wildcard": {"EventBusArn": [{"wildcard": "arn:aws:events:us-east-1:*:event-bus/*"}]},
    "two wildcards": {"FilePath": [{"wildcard": "*/bin/*"}, {"wildcard": "dir/*/lib/*"}]},
    "five wildcards": {"instanceType": [{"wildcard": each} for each in INSTANCE_TYPES]},
    "cidr": {"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]},
    "five address blocks": {
        "ip": [
            {"cidr": block}
            for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "::1/128")
        ]
    },
    "numeric": {
        "c-count": [{"numeric": [">", 0, "<=", 5]}],
        "d-count": [{"numeric": ["<", 10]}],
        "x-limit": [{"numeric": ["=", 3.018e2]}],
    },
    "two ranges": {"latency": [{"numeric": ["<", 1]}, {"numeric": [">=", 500, "<", 600]}]},
    "severities": {"detail": {"severity": [4, 4.0, 4.1, 4.2, 7, 7.0, 7.5, 8.9]}},
    "exists": {"detail": {"c-count": [{"exists": True}], "error": [{"exists": False}]}},
    "anything-but": {
        "state": [{"anything-but": "initializing"}], "x-limit": [{"anything-but": [100, 200, 300]}],
    },
    "anything-but several": {"state": [{"anything-but": ["stopped", "overloaded"]}]},
    "anything-but prefix": {"state": [{"anything-but": {"prefix": "init"}}]},
    "anything-but prefixes": {"state": [{"anything-but": {"prefix": ["init", "stopp"]}}]},
    "anything-but suffixes": {"FileName": [{"anything-but": {"suffix": [".txt", ".rtf", ".h"]}}]},
    "anything-but any case": {
        "state": [{"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}]
    },
    "anything-but wildcard": {"FilePath": [{"anything-but": {"wildcard": "*/lib/*"}}]},
    "anything-but wildcards": {
        "name": [{"anything-but": {"wildcard": ["*a*", "*b*", "c*d"]}}]
    },
    "$or": {
        "$or": [
            {"c-count": [{"numeric": [">", 0, "<=", 5]}]},
            {"d-count": [{"numeric": ["<", 10]}]},
            {"x-limit": [{"numeric": ["=", 3.018e2]}]},
        ]
    },
    "$or of one field": {"$or": [{"path": [{"prefix": "/a"}]}, {"path": [{"suffix": "/b"}]}]},
    "$or below a field": {
        "source": ["aws.cloudwatch"],
        "detail": {
            "$or": [
                {"state": {"value": ["ALARM"]}, "metric": ["CPU"]},
                {"state": {"value": ["OK"]}, "metric": ["Disk"]},
            ]
        },
    },
    "several": {
        "time": [{"prefix": "2017-10-02"}],
        "detail": {
            "state": [{"anything-but": "initializing"}],
            "c-count": [{"numeric": [">", 0, "<=", 5]}],
            "d-count": [{"numeric": ["<", 10]}],
            "x-limit": [{"anything-but": [100, 200, 300]}],
        },
    },
}  # fmt: skip
EXPENSIVE = {"five wildcards"}
"""These are refused by ``Limits.untrusted()``."""


@pytest.mark.parametrize("document", NATURAL.values(), ids=NATURAL)
def test_a_natural_pattern_is_accepted_by_default(document):
    assert Pattern(document).document == document


@pytest.mark.parametrize("name", NATURAL)
def test_a_natural_pattern_is_accepted_untrusted_unless_expensive(name):
    if name not in EXPENSIVE:
        assert Pattern(NATURAL[name], limits=Limits.untrusted())
        return
    with pytest.raises(InvalidBindingError, match=r"Limits\.max_cost"):
        Pattern(NATURAL[name], limits=Limits.untrusted())


EVENT_BRIDGE_CHARACTERS = 2_048
NAMES = [first + second for first in ascii_letters for second in ascii_letters + digits]
DENSE = {
    "wildcards": lambda n: {"a": [{"wildcard": f"*{each}*"} for each in NAMES[:n]]},
    "excepted wildcards": lambda n: {
        "a": [{"anything-but": {"wildcard": [f"*{each[1]}*" for each in NAMES[:n]]}}]
    },
    "ranges": lambda n: {"a": [{"numeric": ["<", each]} for each in range(n)]},
    "members": lambda n: {"$or": [{"a": [each], "b": [1]} for each in range(n + 2)]},
    "members below": lambda n: {"x": {"$or": [{"a": [each], "b": [1]} for each in range(n + 2)]}},
    "IPv4 blocks": lambda n: {"a": [{"cidr": f"{each}.0.0.0/{each % 33}"} for each in range(n)]},
    "IPv6 blocks": lambda n: {"a": [{"cidr": f"::/{each}"} for each in range(n)]},
    "prefixes": lambda n: {"a": [{"anything-but": {"prefix": ["x" * (m + 1) for m in range(n)]}}]},
    "exceptions": lambda n: {"a": [{"anything-but": each} for each in range(n)]},
    "leaves": lambda n: {name: [1] for name in NAMES[:n]},
    "a long prefix": lambda n: {"a": [{"prefix": "x" * n}]},
    "a long wildcard": lambda n: {"a": [{"wildcard": "*" + "x" * n + "*"}]},
}


@pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
def test_no_pattern_of_event_bridge_s_size_costs_too_much(make):
    largest = 1
    while len(json.dumps(make(largest + 1), separators=(",", ":"))) <= EVENT_BRIDGE_CHARACTERS:
        largest += 1

    assert Pattern(make(largest))
