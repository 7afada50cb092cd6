import pytest
from pydantic import TypeAdapter

import edr
from edr.app.config.binding_values import Bindings, OptionalBindings, Received

APP = edr.Binding(app_name="app")


def read(kind, value):
    return TypeAdapter(kind).validate_python(value)


def test_one_table_is_an_array_of_one():
    assert read(Bindings, {"app_name": "app"}) == read(Bindings, [{"app_name": "app"}]) == (APP,)


def test_a_body_pattern_may_be_json_text():
    assert read(Bindings, {"body": '{"a": [null]}'}) == (edr.Binding(body={"a": [None]}),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("app", "must be an array of bindings"),
        ([], "must have at least one binding"),
        ({"body": "{"}, "must be a table or valid JSON text"),
    ],
)
def test_bindings_that_are_refused(value, reason):
    with pytest.raises(ValueError, match=reason):
        read(Bindings, value)


def test_no_binding_is_accepted_where_bindings_are_optional():
    assert read(OptionalBindings, []) == ()


def test_a_link_receives_bindings_or_those_of_the_other_parts():
    assert read(Received, "wanted") == "wanted"
    assert read(Received, [{"app_name": "app"}]) == (APP,)
