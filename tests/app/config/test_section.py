import pytest
from pydantic import ValidationError

from edr import Binding
from edr.app.config import BatchConfig, Configuration, HttpSinkConfig
from edr.app.config.section import faults_of, model_at, written_of
from edr.app.config.sinks import SINKS


def faults(document, model=Configuration):
    with pytest.raises(ValidationError) as raised:
        model.model_validate(document)
    return dict(faults_of(raised.value, model))


def test_a_mistyped_key_is_one_fault():
    found = faults({"lsiten": "a:1"}, Configuration.model_fields["http"].annotation.__args__[0])

    assert found == {("lsiten",): "unknown key; did you mean 'listen'?"}


def test_a_missing_key_has_its_description():
    assert faults({}, HttpSinkConfig)[("url",)].startswith("is missing: the endpoint, `http://`")


def test_the_common_keys_of_an_unknown_type_are_checked():
    found = faults({"sinks": {"a": {"type": "x", "enabled": 1, "colour": "red"}}})

    assert set(found) == {("sinks", "a", "type"), ("sinks", "a", "enabled")}


def test_a_fault_in_a_body_pattern_has_its_place():
    found = faults({"bindings": [{"body": {"a": {"b": [{"no": 1}]}}}]}, SINKS["stdout"])

    assert list(found) == [("bindings", 0, "body", "a", "b", 0)]


@pytest.mark.parametrize(
    ("place", "model"),
    [
        ((), HttpSinkConfig),
        (("batch",), BatchConfig),
        (("bindings", 3), Binding),
        (("bindings", 3, "severity"), None),
        (("headers", "X-A"), None),
        (("nothing", "x"), None),
    ],
)
def test_the_model_at_a_place(place, model):
    assert model_at(HttpSinkConfig, place) is model


def test_a_section_is_immutable():
    with pytest.raises(ValidationError):
        BatchConfig().events = 2


def test_each_key_says_how_it_is_written():
    for name, field in HttpSinkConfig.model_fields.items():
        assert (written_of(field) is None) == (name in {"type", "batch", "retry", "sign", "tls"})
