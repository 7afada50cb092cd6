"""docs/configuration.md has every key, as the models have it."""

import importlib.util
import re

import pytest
from package.test_readme import ROOT

from edr.app.config import ConfigurationError, read

SPEC = importlib.util.spec_from_file_location(
    "make_configuration", ROOT / "docs" / "make_configuration.py"
)
make_configuration = importlib.util.module_from_spec(SPEC)  # docs/ is not a package
SPEC.loader.exec_module(make_configuration)
PAGE = make_configuration.PAGE.read_text(encoding="utf-8")


def test_the_tables_are_what_the_generator_writes():
    assert make_configuration.filled(PAGE) == PAGE, "run python docs/make_configuration.py"


@pytest.mark.parametrize("name", make_configuration.MODELS)
def test_each_model_has_its_table(name):
    if make_configuration.MODELS[name].model_fields.keys() != {"type"}:
        assert f"<!-- keys: {name} -->\n|" in PAGE or "No further keys" in PAGE


def test_each_key_has_a_description():
    for name, model in make_configuration.MODELS.items():
        for key, field in model.model_fields.items():
            assert key == "type" or field.description, f"{name}.{key}"


def test_the_example_is_valid(tmp_path, monkeypatch):
    monkeypatch.setattr("edr.app.config.rules.find_spec", lambda _: True)
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "tokens.jsonl").touch()
    (tmp_path / "alarms").write_text("x")
    environ = {
        "EDR_AMQP_URL": "amqp://a",
        "ALARMS_URL": "https://a",
        "ALARMS_SIGN": "whsec_" + "QUJD" * 8,
    }
    text = example.replace("/run/secrets/alarms", str(tmp_path / "alarms"))

    assert read(text.encode(), folder=tmp_path, environ=environ).notes == ()


def test_the_report_is_that_of_the_example():
    text = b"""[sinks.audit]
type = "file"
pahh = "events.jsonl"
bindings = [{ severity = "critcal" }]
"""

    with pytest.raises(ConfigurationError) as raised:
        read(text, name="edr.toml")

    assert f"```text\n{raised.value}\n```" in PAGE
