import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.toml_documents import toml_texts

from edr.app.config.lines import json_lines, toml_lines

TEXT = '''
title = "a"   # = not a key
[sinks.audit]
bindings = [
  { severity = "ok" },  # }]
  { "verb.osity" = """
x]]"""", a.b = 1 },
]

[[list]]
x = 1
[[list]]
[list.inner]
'k' = 1979-05-27 07:32:00
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("title",), 2),
        (("sinks", "audit"), 3),
        (("sinks", "audit", "bindings"), 4),
        (("sinks", "audit", "bindings", 0, "severity"), 5),
        (("sinks", "audit", "bindings", 1), 6),
        (("sinks", "audit", "bindings", 1, "verb.osity"), 6),
        (("sinks", "audit", "bindings", 1, "a", "b"), 7),
        (("list", 0, "x"), 11),
        (("list", 1), 12),
        (("list", 1, "inner", "k"), 14),
    ],
)
def test_toml_line_of_a_setting(place, line):
    assert toml_lines(TEXT)[place] == line


def places_of(value, place=()):
    """Yield the place of each key and element of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*place, key)
        if isinstance(inner, (dict, list)):
            yield from places_of(inner, (*place, key))


@given(toml_texts())
def test_toml_lines_have_each_place_and_its_line(written):
    text, lines = written

    assert set(toml_lines(text)) == set(places_of(tomllib.loads(text)))
    assert toml_lines(text) == lines


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(max_size=4), VALUES, max_size=4),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_json_lines_have_each_place(document, indent, ascii_only):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)

    found = json_lines(text)

    assert set(found) - {()} == set(places_of(document))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def test_json_line_of_a_setting():
    assert json_lines('{"a": [\n1,\n{"b": "\\"}"}], "c": 1}') == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 3,
        ("c",): 3,
    }


def test_a_deep_document_needs_no_stack():
    assert max(toml_lines("a = " + "[" * 1000 + "]" * 1000), key=len) == ("a", *[0] * 999)
