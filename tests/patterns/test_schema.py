"""The JSON Schema of patterns agrees with the parser."""

import json

import jsonschema
import pytest
from hypothesis import given
from support.pattern_elements import ELEMENTS
from support.pattern_samples import INVALID
from support.pattern_strategies import patterns

from edr.patterns.schema import pattern_json_schema

SCHEMA = jsonschema.Draft202012Validator(pattern_json_schema())


# What a schema cannot say: the relation of two bounds, of fields to each other, what an address
# is, and sums over a whole pattern. NaN and surrogates are beyond JSON.
UNSAID = {
    "less than", "outside", "block", "surrogate", "finite", "field names", "no body can hold"
}  # fmt: skip


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(pattern_json_schema())


@given(patterns)
def test_what_is_a_pattern_is_valid_by_the_schema(document):
    SCHEMA.validate(document)


@pytest.mark.parametrize("element", [each[0] for each in ELEMENTS], ids=json.dumps)
def test_each_element_is_valid_by_the_schema(element):
    SCHEMA.validate({"f": [element]})


@pytest.mark.parametrize(
    "document",
    [document for document, _, reason in INVALID if reason not in UNSAID],
    ids=lambda each: str(each)[:60],
)
def test_what_is_no_pattern_is_invalid_by_the_schema(document):
    assert not SCHEMA.is_valid(document)
