"""How long can one binding hold the loop? A search for the worst pattern and body.

A hill climb over shapes: a pattern is a list of genes (which fields, which elements, in which
``$or``), a body is a kind of filling for 256 KiB, the default of ``Bus(max_body=…)``, or 2 KB. Each
is changed a little, the slower one is kept, and at times the search starts again. The worst of
earlier searches is in `KNOWN`. The bounds hold for the limits of untrusted bindings.

python -m benchmarks.questions.hostile                      the table
python -m benchmarks.questions.hostile --minutes 10         search longer; prints what it finds
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import string
import sys
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import orjson

from benchmarks.harness.harness import Settings, in_subprocess, main
from benchmarks.harness.table import Row, Table
from edr.errors import InvalidBindingError
from edr.patterns import DEFAULT_LIMITS, Limits, Pattern, PatternIndex
from edr.records import snapshot

Document = dict[str, Any]
KIB256, KB2 = 2**18, 2_015
BOUND = {KIB256: 100e6, KB2: 5e6}
SIZES = {KIB256: "256 KiB", KB2: "2 KB"}
LIMITS = {"default limits": DEFAULT_LIMITS, "untrusted": Limits.untrusted()}


# Bodies: what an array of so many bytes is filled with ------------------------------------------


def texts(alphabet: str, length: int) -> Callable[[int], Iterator[Any]]:
    """Different strings of a length, as many as there are."""

    def fill(size: int) -> Iterator[Any]:
        drawn = itertools.product(alphabet, repeat=length)
        return map("".join, itertools.islice(drawn, size // (length + 3)))

    return fill


def repeated(token: Any) -> Callable[[int], Iterator[Any]]:
    text = json.dumps(token, separators=(",", ":"))
    return lambda size: (json.loads(text) for _ in range(size // (len(text) + 1)))


def counted(make: Callable[[int], Any]) -> Callable[[int], Iterator[Any]]:
    """Tokens that are made of a number each, until the size is reached."""

    def fill(size: int) -> Iterator[Any]:
        for n in itertools.count():
            token = make(n)
            size -= len(json.dumps(token, separators=(",", ":"))) + 1
            if size < 0:
                return
            yield token

    return fill


def tree(
    width: int, leaf: Any, wrap: Callable[[list[Any]], Any] = lambda several: {"a": several}
) -> Callable[[int], Iterator[Any]]:
    """Objects, or what else is wrapped, in arrays of so many, those in arrays of as many, etc."""

    def fill(size: int) -> Iterator[Any]:
        within = leaf
        while len(json.dumps(wrap([within] * width), separators=(",", ":"))) * width < size:
            within = wrap([within] * width)
        whole = len(json.dumps(within, separators=(",", ":"))) + 1
        return (within for _ in range(size // whole))

    return fill


def nested(depth: int, wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Something that is wrapped, and that again, and so on."""

    def make(token: Any) -> Any:
        for _ in range(depth):
            token = wrap(token)
        return token

    return make


def deep(depth: int) -> Callable[[Any], Any]:
    return nested(depth, lambda token: [token])


LETTERS = string.ascii_letters + string.digits + "-_"
FILLINGS: dict[str, Callable[[int], Iterator[Any]]] = {
    "zeros": repeated(0),
    "numbers": counted(lambda n: n),
    "floats": counted(lambda n: n + 0.5),
    "shuffled numbers": counted(lambda n: n * 7_919 % 1_000_003),
    "empty strings": repeated(""),
    "strings of 1": repeated("a"),
    "strings of 3": texts(LETTERS, 3),
    "strings of 4, few letters": texts("abcdefghijklmnopqrstuvw", 4),
    "strings of 9, two letters": texts("ab", 17),
    "strings of 100": counted(lambda n: "ab" * 47 + f"{n:06}"),
    "strings of 1,000": counted(lambda n: "a" * 994 + f"{n:06}"),
    "one string": lambda size: iter(["a" * (size - 20)]),
    "not ASCII": counted(lambda n: chr(0xE0 + n % 30) + chr(0x100 + n // 30 % 300) + f"{n:x}"),
    "sharp s": counted(lambda n: "ß" * 3 + f"{n:x}"),
    "IPv4": counted(lambda n: f"{n % 250}.{n // 250 % 250}.{n // 62_500}.1"),
    "nearly IPv4": counted(lambda n: f"{n % 250}.{n // 250 % 250}.{n // 62_500}.x"),
    "no IPv4": counted(lambda n: f"{n % 250}.{n // 250 % 250}.{n // 62_500}.999"),
    "no IPv6": counted(lambda n: f"::12345{n:x}"),
    "IPv6": counted(lambda n: f"::{n:x}"),
    "one IPv6": repeated("::"),
    "shuffled IPv6": counted(lambda n: f"::{n * 7_919 % 65_537:x}"),
    "nearly IPv6": counted(lambda n: f"::{n:x}::"),
    "mixed": counted(lambda n: [n, f"{n}", True, None, n + 0.5][n % 5]),
    "literals": counted(lambda n: [True, None, 0, 1, False][n % 5]),
    "empty arrays": repeated([]),
    "arrays of one": repeated([0]),
    "arrays of nine": counted(lambda n: [n] * 9),
    "deep arrays": counted(deep(8)),
    "deeper arrays": counted(deep(32)),
    "very deep arrays": counted(deep(120)),
    "a tree of arrays of two": tree(2, 0, lambda several: several),
    "a tree of arrays of 32": tree(32, 0, lambda several: several),
    "a tree of arrays of 40": tree(40, 0, lambda several: several),
    "long arrays in deep arrays": counted(lambda n: deep(100)([n] * 40)),
    "deep arrays in one": lambda size: iter([list(counted(deep(8))(size))]),
    "empty objects": repeated({}),
    "empty objects and numbers": counted(lambda n: [{}, n][n % 2]),
    "objects of one field": repeated({"a": 0}),
    "other objects of one field": counted(lambda n: {"b": n}),
    "objects of two fields": repeated({"a": 0, "b": 0}),
    "objects of two fields that match": repeated({"a": 0, "b": 1}),
    "objects with short strings": repeated({"a": "a"}),
    "objects with addresses": repeated({"a": "::", "b": 1}),
    "arrays of an empty object": repeated([{}]),
    "different objects of two fields": counted(lambda n: {"a": n % 97, "b": n}),
    "objects with strings": counted(lambda n: {"a": f"{n:x}a"}),
    "objects with arrays": repeated({"a": [0]}),
    "objects with empty arrays": repeated({"a": []}),
    "objects with arrays in arrays": repeated({"a": [[0]]}),
    "objects with narrow arrays in arrays": repeated({"a": [[0], 0]}),
    "objects with deep arrays": counted(lambda n: {"a": deep(8)(n)}),
    "objects with deeper arrays": counted(lambda n: {"a": deep(32)(n)}),
    "objects in deep arrays": counted(lambda n: deep(8)({"a": n})),
    "objects with objects in deep arrays": counted(lambda n: {"a": deep(8)({"b": n})}),
    "objects with a tree of arrays": repeated({"a": [[[0, 0], [0, 0]], [[0, 0], [0, 0]]]}),
    "objects with arrays of eight": repeated({"a": [0] * 8}),
    "objects with arrays of 32": repeated({"a": [0] * 32}),
    "objects with arrays of 33": repeated({"a": [0] * 33}),
    "objects with arrays of strings": repeated({"a": ["ab"] * 8}),
    "objects with longer arrays": counted(lambda n: {"a": [n] * 9}),
    "deep objects": counted(nested(8, lambda token: {"a": token})),
    "very deep objects": counted(nested(60, lambda token: {"a": token})),
    "deep objects in arrays": counted(nested(8, lambda token: {"a": [token]})),
    "very deep objects in arrays": counted(nested(60, lambda token: {"a": [token]})),
    "objects in objects": repeated({"a": {"b": 0}}),
    "other objects in arrays of six": repeated({"a": [{"z": 0}] * 6}),
    "objects with an array of objects": repeated({"a": [{"b": 0}]}),
    "a tree of two": tree(2, {"b": 0}),
    "a tree of four": tree(4, {"a": 0}),
    "a tree of 32": tree(32, {"a": 0}),
    "a tree of 40": tree(40, {"b": 0}),
    "objects of many fields": repeated({f"f{n}": 0 for n in range(16)}),
}


def body_of(filling: str, size: int) -> Any:
    # By way of JSON: a tree is made of one object many times, and a body is not.
    return snapshot(orjson.loads(orjson.dumps({"x": list(FILLINGS[filling](size - 20)), "y": 1})))


# Patterns ---------------------------------------------------------------------------------------

ELEMENTS: list[Callable[[random.Random], Any]] = [
    lambda r: f"q{r.randrange(9)}",
    lambda r: 10**9 + r.randrange(9),
    lambda _: -1,
    lambda _: 0,
    lambda r: {"prefix": "a" * r.choice([1, 2, 3, 93]) + "!"},
    lambda r: {"prefix": {"equals-ignore-case": "S" * r.choice([1, 3]) + "!"}},
    lambda r: {"suffix": "!" + "b" * r.choice([1, 2, 3, 93])},
    lambda _: {"suffix": {"equals-ignore-case": "!ß"}},
    lambda _: {"equals-ignore-case": "Q!"},
    lambda r: {"wildcard": "*" + "*".join(r.choice(["ab", "cba", "a", "aa", "abab"])) + "*!*"},
    lambda r: {"wildcard": r.choice(["*a!", "a*!", "*!*", "a*b*a!", "*" + "ab" * 40 + "!*"])},
    lambda r: {"numeric": ["<", -r.randrange(1, 9)]},
    lambda r: {"numeric": [">", 10 ** r.randrange(9, 15), "<=", 10**15]},
    lambda r: {"numeric": [">", r.randrange(9) + 0.6, "<", r.randrange(10, 19) + 0.4]},
    lambda r: {"cidr": f"{r.randrange(251, 256)}.0.0.0/{r.randrange(8, 32)}"},
    lambda r: {"cidr": f"ff00::/{r.randrange(8, 128)}"},
    lambda _: {"exists": False},
    lambda _: {"anything-but": [0, 1, 2]},
    lambda _: {"anything-but": {"prefix": ["a", "b"]}},
    lambda _: {"anything-but": {"wildcard": "*"}},
    lambda _: {"anything-but": {"equals-ignore-case": ["a", "b"]}},
    lambda _: {"anything-but": {"suffix": ["a", "b"]}},
    lambda _: {"anything-but": "q"},
    lambda r: {"prefix": "a" * r.randrange(3)},
    lambda r: {"wildcard": r.choice(["*a*", "*a", "*:*"])},
    lambda r: {"cidr": f"::/{r.randrange(128)}"},
    lambda r: {"numeric": [">", -r.randrange(1, 9)]},
]
PLACES = [
    ("x",),
    ("x", "a"),
    ("x", "b"),
    ("x", "a", "b"),
    ("x", "a", "a"),
    ("x",) + ("a",) * 4,
    ("x",) + ("a",) * 7,
    ("x",) + ("a",) * 20,
    ("x",) + ("a",) * 60,
    ("x", "c"),
    ("x", "f15"),
    ("y",),
]

Gene = tuple[int, tuple[str, ...], Any]
"""The number of the member of ``$or`` (0 for none), a place, and an element."""


def document_of(genes: list[Gene], *, or_below: bool) -> Document:
    """Build a pattern; ``or_below`` puts the ``$or`` into the object at ``x``."""
    root: Document = {"y": [1]}
    members: dict[int, Document] = {}
    for member, place, element in genes:
        target = root if not member else members.setdefault(member, {})
        *above, last = place[1:] if member and or_below and len(place) > 1 else place
        for name in above:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                break
        if isinstance(target, dict) and isinstance(target.setdefault(last, []), list):
            target[last].append(element)
    if len(members) > 1:
        alternatives = list(members.values())
        if or_below and isinstance(root.setdefault("x", {}), dict):
            root["x"]["$or"] = alternatives
        else:
            root["$or"] = alternatives
    return root


def random_gene(r: random.Random) -> Gene:
    return (r.choice([0, 1, 2, 3, 4, 5, 6, 7]), r.choice(PLACES), r.choice(ELEMENTS)(r))


def pattern_of(genes: list[Gene], *, or_below: bool, limits: Limits) -> Pattern | None:
    try:
        return Pattern(document_of(genes, or_below=or_below), limits=limits)
    except InvalidBindingError:
        return None


def cost(pattern: Pattern, body: Any, *, rounds: int = 3) -> float:
    """Return the ns that a match takes, by the index or alone, whichever is more."""
    index: PatternIndex[int] = PatternIndex()
    index.add(pattern, 1)
    index.match(body)  # compiles what is compiled at the first use
    pattern.matches(body)
    taken = []
    for match in (index.match, pattern.matches):
        samples = []
        for _ in range(rounds):
            start = thread_time()
            match(body)
            samples.append(thread_time() - start)
        taken.append(min(samples) * 1e9)
    return max(taken)


def search(limits: Limits, seconds: float, seed: int) -> list[tuple[float, Document, str]]:
    """Return the worst that was found, by filling, at a quarter of the size."""
    r = random.Random(seed)
    size = KIB256 // 4
    bodies = {filling: body_of(filling, size) for filling in FILLINGS}
    worst: dict[str, tuple[float, Document, str]] = {}
    until = perf_counter() + seconds
    while perf_counter() < until:
        filling, or_below = r.choice(list(FILLINGS)), r.random() < 0.5
        best, genes, stale = 0.0, [random_gene(r)], 0
        while stale < 25 and perf_counter() < until:
            changed = list(genes)
            for _ in range(r.choice([1, 1, 2, 4])):
                action = r.random()
                if action < 0.6 or not changed:
                    changed.append(random_gene(r))
                elif action < 0.8:
                    changed[r.randrange(len(changed))] = random_gene(r)
                else:
                    changed.pop(r.randrange(len(changed)))
            pattern = pattern_of(changed, or_below=or_below, limits=limits) if changed else None
            stale += 1
            if pattern is None:
                continue
            taken = cost(pattern, bodies[filling], rounds=2)
            if taken > best * 1.03:
                best, genes, stale = taken, changed, 0
                if best > worst.get(filling, (0.0,))[0]:
                    worst[filling] = (best, pattern.document, filling)
    return sorted(worst.values(), key=lambda each: -each[0])


# What was found before ------------------------------------------------------------------------


ABSENT = [{"exists": False}]
AFFIXES = [
    {"prefix": "q!"},
    {"suffix": "!q"},
    {"equals-ignore-case": "Q!"},
    {"prefix": {"equals-ignore-case": "Q!!"}},
    {"suffix": {"equals-ignore-case": "!q"}},
]
TEXTS = ["empty strings", "strings of 1", "strings of 3", "not ASCII", "one string"]
ADDRESSES = ["one IPv6", "IPv6", "shuffled IPv6", "IPv4", "nearly IPv6", "no IPv6", "strings of 1"]
SCALARS = ["zeros", "numbers", "mixed", "literals", "arrays of one", "empty arrays"]
OBJECTS = [
    "objects of one field",
    "objects of two fields",
    "objects of two fields that match",
    "objects with short strings",
    "objects with addresses",
    "objects with arrays",
    "arrays of an empty object",
    "deep objects",
    "a tree of two",
    "a tree of four",
    "other objects in arrays of six",
    "objects with objects in deep arrays",
]
KNOWN: dict[str, tuple[Document, list[str]]] = {
    "one exact field": ({"x": ["q"]}, [*SCALARS, "strings of 1"]),
    "eight lengths of prefixes": ({"x": [{"prefix": "a" * n + "!"} for n in range(8)]}, TEXTS),
    "all kinds of affixes": ({"x": AFFIXES}, TEXTS),
    "three wildcards": ({"x": [{"wildcard": f"*{n}*!*"} for n in range(3)]}, TEXTS),
    "wildcards of many pieces": (
        {"x": [{"wildcard": "*a*a*a*b"}]},
        ["strings of 4, few letters", "strings of 9, two letters", "one string"],
    ),
    "three lengths of address blocks": (
        {"x": [{"cidr": f"ff00::/{128 - n}"} for n in range(3)]},
        ADDRESSES,
    ),
    "three lengths of address blocks that hold each address": (
        {
            "$or": [
                {"x": [{"cidr": f"::/{n}"} for n in range(3)], "y": ABSENT},
                {"x": [1], "y": [2]},
            ]
        },
        ADDRESSES,
    ),
    "three ranges": (
        {"x": [{"numeric": [">", 10**6, "<", 10**7 + n]} for n in range(3)]},
        SCALARS,
    ),
    "three ranges that hold each number": (
        {
            "$or": [
                {"x": [{"numeric": [">", -n]} for n in range(1, 4)], "y": ABSENT},
                {"x": ["never"], "y": ABSENT},
            ]
        },
        SCALARS,
    ),
    "anything-but of no value": (
        {"$or": [{"x": [{"anything-but": "q"}], "y": ABSENT}, {"x": ["never"], "y": ABSENT}]},
        [*SCALARS, "strings of 1"],
    ),
    "six members at the body's own fields": (
        {"$or": [{"x": [f"q{n}"], "y": [1, n]} for n in range(6)]},
        [*SCALARS, "strings of 1"],
    ),
    "five members of two fields": (
        {"x": {"$or": [{"a": [0], "b": [n + 2]} for n in range(5)]}},
        OBJECTS,
    ),
    "members with wildcards": (
        {"x": {"$or": [{"a": [{"wildcard": f"*{n}*q*"}], "b": [1, n]} for n in range(3)]}},
        OBJECTS,
    ),
    "28 that may be absent": (
        {"x": {"a": [0], **{f"g{n}": ABSENT for n in range(28)}, "b": [1]}},
        OBJECTS,
    ),
    "absences in five members": (
        {"y": [1], "z": ABSENT, "x": {"$or": [{f"f{n}": ABSENT, "q": [5]} for n in range(5)]}},
        OBJECTS,
    ),
    "a field in 6 objects": ({"x": nested(6, lambda below: {"a": below})(ABSENT)}, OBJECTS),
    "a field in 6 objects, and an absence": (
        {"x": nested(5, lambda below: {"a": below})({"a": [0], "b": ABSENT})},
        OBJECTS,
    ),
    "31 address blocks in one $or": (
        {"y": [1], "$or": [{"x": [{"cidr": f"{n}.0.0.0/8"}]} for n in range(31)]},
        ADDRESSES,
    ),
}


def _row(what: str, pattern: Pattern, size: int, fillings: list[str], *, bound: bool) -> Row:
    taken = {each: cost(pattern, body_of(each, size), rounds=6) for each in fillings}
    worst = max(taken, key=lambda each: taken[each])
    limit = BOUND[size] if bound else None
    return Row(f"{what}, {SIZES[size]}", taken[worst], does=worst, limit=limit, ours=True)


def _sizes(settings: Settings) -> list[int]:
    return [KB2] if settings.quick else [KB2, KIB256]


def _known(settings: Settings) -> list[Row]:
    return [
        _row(what, Pattern(document, limits=Limits.untrusted()), size, fillings, bound=True)
        for what, (document, fillings) in KNOWN.items()
        for size in _sizes(settings)
    ]


def _reading(_: Settings) -> list[Row]:
    """The time to parse and to add the largest that is accepted."""
    documents: dict[str, Document] = {
        "10,000 strings": {"x": [f"{n:020}" for n in range(10_000)]},
        "10,000 numbers": {"x": [n * (2**61 - 1) % 2**64 for n in range(10_000)]},
        "5,000 blocks": {"x": [{"cidr": f"{n % 256}.{n // 256}.0.0/16"} for n in range(5_000)]},
        "500 ranges": {"x": [{"numeric": [">", n, "<", n + 1]} for n in range(500)]},
        "10,000 prefixes": {"x": [{"prefix": f"{n:05}"} for n in range(10_000)]},
        "10,000 ignoring case": {"x": [{"equals-ignore-case": f"{n:05}"} for n in range(10_000)]},
        "9,906 literals in 127 leaves": {f"f{n}": [True, False, None] * 26 for n in range(127)},
        "1,000 objects": {
            f"f{n}": nested(58, lambda below: {"a" * 30: below})([n]) for n in range(17)
        },
        "a wildcard of 1,024 characters": {"x": [{"wildcard": "*" + "a" * 1_023}]},
        "128 leaves of 2,000 characters": {f"f{n}": ["x" * 1_990] for n in range(128)},
        "an $or of 64 conjunctions": {
            "$or": [{f"a{n}": ["x" * 900], f"b{n}": ["y" * 900]} for n in range(64)]
        },
    }
    rows = []
    for what, document in documents.items():
        samples = []
        for _ in range(7):
            index: PatternIndex[int] = PatternIndex()
            gc.collect()
            start = thread_time()
            pattern = Pattern(document)
            index.add(pattern, 1)
            samples.append((thread_time() - start) * 1e9)
            del pattern
        rows.append(Row(f"{what}: parse and add", median(samples), limit=50e6, ours=True))
    return rows


def _searched(settings: Settings, name: str, seconds: float, seed: int) -> list[Row]:
    limits = LIMITS[name]
    rows = []
    for _, document, filling in search(limits, seconds, seed)[:5]:
        pattern = Pattern(document, limits=limits)
        bound = limits is not DEFAULT_LIMITS
        for size in _sizes(settings):
            row = _row(f"found by search, {name}", pattern, size, [filling], bound=bound)
            rows.append(row)
        if "--show" in sys.argv:
            print(rows[-1].value, filling, json.dumps(document)[:600], file=sys.stderr)
    return rows


def run(settings: Settings) -> Table:
    rows = in_subprocess(_known, settings) + in_subprocess(_reading, settings)
    for seed, name in enumerate(LIMITS):
        rows += in_subprocess(_searched, settings, name, 5 if settings.quick else 60, seed)
    return Table(
        "How long can one binding hold the loop?",
        rows,
        notes="What it takes to match, by an index of that one pattern or by the pattern alone, "
        "whichever takes longer; the worst of the bodies tried, which the last column names. In "
        "seconds of the processor: what else it does meanwhile is not the binding's.",
    )


def _search_long() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--limits", choices=list(LIMITS), default="default limits")
    arguments = parser.parse_args()
    limits = LIMITS[arguments.limits]
    found = search(limits, arguments.minutes * 60, arguments.seed)
    for _, document, filling in found[:12]:
        taken = cost(Pattern(document, limits=limits), body_of(filling, KIB256))
        print(f"{taken / 1e6:7.1f} ms  {filling:34} {json.dumps(document)}", flush=True)


if __name__ == "__main__":
    if any(each.startswith("--minutes") for each in sys.argv):
        _search_long()
    else:
        main(run)
