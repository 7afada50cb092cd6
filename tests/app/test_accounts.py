"""The account tree of the configuration."""

import json
import logging

import pytest

from edr.app.accounts import accounts_of
from edr.app.config import AccountsConfig, ConfigurationError


def resolver(account_id):
    return ["root", account_id.upper()]


def test_no_configuration_has_no_resolver():
    assert accounts_of(None) is None


def test_a_file_has_the_parent_of_each_account(tmp_path):
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"child": "middle", "middle": "root"}))

    accounts = accounts_of(AccountsConfig(file=str(file)))

    assert accounts.ancestors("child") == ("root", "middle")
    assert accounts.ancestors("unknown") == ()


def test_a_changed_file_is_used_and_a_faulty_one_is_not(tmp_path, caplog):
    file = tmp_path / "accounts.json"
    file.write_text('{"a": "b"}')
    accounts = accounts_of(AccountsConfig(file=str(file)))
    file.write_text('{"a": "other"}')
    changed = accounts.ancestors("a")
    file.write_text("[")
    with caplog.at_level(logging.ERROR):
        after_fault = accounts.ancestors("a")

    assert changed == after_fault == ("other",)
    assert "cannot be read, and the last accounts are used" in caplog.text


def test_a_function_is_called():
    accounts = accounts_of(AccountsConfig(callable=f"{__name__}:resolver"))

    assert accounts.ancestors("a") == ["root", "A"]


@pytest.mark.parametrize("name", ["no_such_module:x", "json:no_such", "json:__doc__"])
def test_a_wrong_function_is_a_fault(name):
    with pytest.raises(ConfigurationError, match=r"app\.accounts\.callable"):
        accounts_of(AccountsConfig(callable=name))


def test_a_file_of_another_form_is_a_fault(tmp_path):
    (tmp_path / "accounts.json").write_text("[]")
    with pytest.raises(ConfigurationError, match=r"app\.accounts\.file"):
        accounts_of(AccountsConfig(file=str(tmp_path / "accounts.json")))
