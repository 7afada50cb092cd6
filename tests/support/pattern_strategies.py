"""Dense strategies: few fields, few values, so that patterns and bodies meet often."""

from hypothesis import strategies as st

from edr.errors import InvalidBindingError
from edr.patterns import DEFAULT_LIMITS, Limits, Pattern

# Leaves are mostly at the first two fields and objects at the third, in patterns and in bodies.
FIELDS = ["a", "a.b", "b"]
STRINGS = [
    "",
    "a",
    "A",
    "ab",
    "aba",
    "b",
    "ß",
    "ss",
    "ẞA",
    "É",
    "é",
    "😀",
    "😀a",
    "10.0.0.1",
    "10.0.1.1",
    "::1",
]
NUMBERS = [-1, 0, 1, 1.0, 1.5, 2, 2**53, 2**53 + 1, float(2**53), 2**63, -0.0, 1e300]
LITERALS = [True, False, None]
FREQUENT = ["a", "ab", 1, 2]

strings = st.sampled_from(STRINGS)
numbers = st.sampled_from(NUMBERS)
scalars = st.one_of(st.sampled_from(FREQUENT), strings, st.sampled_from([*NUMBERS, *LITERALS]))


@st.composite
def _bodies(draw, depth=2):
    body = {}
    for name in FIELDS:
        shape = draw(st.integers(0, 9))
        inner = _bodies(depth=depth - 1) if depth else scalars
        likely = inner if name == "b" else scalars
        if shape <= 5:
            body[name] = draw(likely)
        elif shape <= 7:
            arrays = st.lists(likely, max_size=3)
            body[name] = draw(st.one_of(arrays, arrays, st.lists(st.one_of(arrays, scalars))))
        elif shape == 8:
            body[name] = draw(st.one_of(scalars, inner))
    return body


bodies = _bodies()


def _one_or_several(elements):
    return st.one_of(elements, st.lists(elements, min_size=1, max_size=3))


@st.composite
def _ranges(draw):
    lower, upper = sorted([draw(numbers), draw(numbers)])
    if lower == upper or draw(st.booleans()):
        return [draw(st.sampled_from(["=", "<", "<=", ">", ">="])), lower]
    return [
        draw(st.sampled_from([">", ">="])),
        lower,
        draw(st.sampled_from(["<", "<="])),
        upper,
    ]


affixes = st.sampled_from(["a", "ab", "b", "😀", "é", "10.", "s", "ß"])
wildcards = st.sampled_from(["*", "a*", "*a", "*b*", "a*a", "", "ab", "*0.*.1", "😀*", "*é*"])
ignoring_case = strings.map(lambda text: {"equals-ignore-case": text})
elements = st.one_of(
    scalars,
    scalars,
    strings.map(lambda text: {"exactly": text}),
    st.one_of(affixes, ignoring_case).map(lambda operand: {"prefix": operand}),
    st.one_of(affixes, ignoring_case).map(lambda operand: {"suffix": operand}),
    ignoring_case,
    wildcards.map(lambda operand: {"wildcard": operand}),
    _ranges().map(lambda operand: {"numeric": operand}),
    st.sampled_from(["10.0.0.0/24", "10.0.1.1/8", "::/0", "0.0.0.0/0"]).map(
        lambda operand: {"cidr": operand}
    ),
    st.booleans().map(lambda operand: {"exists": operand}),
    st.one_of(_one_or_several(strings), _one_or_several(numbers)).map(
        lambda operand: {"anything-but": operand}
    ),
    st.one_of(
        *(
            _one_or_several(operands).map(lambda operand, name=name: {name: operand})
            for name, operands in [
                ("prefix", affixes),
                ("suffix", affixes),
                ("equals-ignore-case", strings),
                ("wildcard", wildcards),
            ]
        )
    ).map(lambda operand: {"anything-but": operand}),
)
leaves = st.lists(elements, min_size=1, max_size=3)


@st.composite
def _patterns(draw, depth=2, at=(), taken=frozenset()):
    """An object pattern that asks for no leaf that is taken outside of its `$or`."""
    names = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True))
    fields = {}
    for name in names:
        likely = (name == "b") == (draw(st.integers(0, 9)) < 9)
        is_object = depth and likely
        if not is_object and (*at, name) in taken:
            continue
        fields[name] = (
            draw(_patterns(depth=depth - 1, at=(*at, name), taken=taken))
            if is_object
            else draw(leaves)
        )
    if not fields:
        fields = {"c": draw(leaves)}  # no body has it, and each member may ask for it
    inside = taken.union(leaves_of(fields, at))
    if depth and draw(st.integers(0, 2)) == 0:
        members = st.lists(_patterns(depth=depth - 1, at=at, taken=inside), min_size=2, max_size=3)
        alternatives = draw(members)
        if draw(st.booleans()):
            return {"$or": alternatives, **fields}
        return {**fields, "$or": alternatives}
    return fields


def leaves_of(document, at):
    """The paths of all leaves of a pattern."""
    for name, below in document.items():
        if name == "$or":
            for member in below:
                yield from leaves_of(member, at)
        elif isinstance(below, dict):
            yield from leaves_of(below, (*at, name))
        else:
            yield (*at, name)


def is_pattern(document, limits=DEFAULT_LIMITS):
    try:
        Pattern(document, limits=limits)
    except InvalidBindingError as refused:
        assert "Limits.max_cost" in refused.reason or "outside" in refused.reason  # noqa: PT017
        return False
    return True


WIDE = Limits(max_cost=10**6)

patterns = _patterns().filter(is_pattern)
wide_patterns = (
    _patterns()
    .filter(lambda document: is_pattern(document, WIDE))
    .map(lambda document: Pattern(document, limits=WIDE))
)
"""Also those that ask too much by default."""
