"""What Event and Binding have in common as models: signature, repr and error messages."""

import inspect
import re

import pytest

from edr import Binding, Event, InvalidBindingError, Pattern


@pytest.mark.parametrize("model", [Binding, Event])
def test_the_signature_is_short_enough_to_be_read(model):
    assert len(str(inspect.signature(model))) < 350
    assert "Annotated" not in str(inspect.signature(model))


def test_a_repr_leaves_out_what_is_the_default_and_can_be_evaluated():
    binding = Binding(app_name=["a", "b"], severity="warning", body={"status": ["paused"]})

    assert repr(Binding()) == "Binding()"
    assert repr(Binding(severity="warning")) == "Binding(severity='warning')"
    assert eval(repr(binding), {"Binding": Binding, "Pattern": Pattern}) == binding


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"severiti": "ok"}, "severiti: unknown field; did you mean 'severity'?"),
        ({"status": "paused"}, "status: unknown field"),
        ({"severity": "warnin"}, "did you mean 'warning'?"),
        ({"severity": "error"}, "'error' is a verbosity; a severity is one of ok, warning"),
        ({"verbosity": "warning"}, "'warning' is a severity; a verbosity is one of trace, debug"),
    ],
)
def test_a_wrong_field_or_level_is_told_with_the_one_that_was_meant(fields, message):
    with pytest.raises(InvalidBindingError, match=re.escape(message)):
        Binding(**fields)


def test_only_the_faults_that_are_shown_are_compared_with_the_known_fields(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "edr.records.model.did_you_mean", lambda name, known: compared.append(name) or ""
    )
    with pytest.raises(InvalidBindingError, match="and 989 more"):
        Binding.model_validate({f"field_{n}": n for n in range(1_000)})

    assert len(compared) == 11
