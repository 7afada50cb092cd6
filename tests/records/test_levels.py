import json

import pytest

from edr import Severity, Verbosity


def test_levels_are_ordered_by_definition_not_by_the_alphabet():
    assert sorted(Severity, reverse=True) == ["critical", "warning", "ok"]
    assert list(Verbosity) == sorted(Verbosity)
    assert Verbosity.WARN < Verbosity.ERROR < Verbosity.FATAL
    assert Severity.OK <= Severity.OK >= Severity.OK


def test_a_level_compares_with_its_text():
    assert Severity.WARNING >= "ok"
    assert Severity.WARNING > "ok"
    assert Severity("critical") == "critical"
    assert hash(Severity.OK) == hash("ok")


def test_comparing_with_what_is_no_level_of_the_kind_is_an_error():
    with pytest.raises(ValueError, match="bogus"):
        assert Severity.OK < "bogus"
    with pytest.raises(ValueError, match="info"):
        assert Severity.OK < Verbosity.INFO


def test_json_holds_the_text():
    assert json.dumps([Severity.OK, Verbosity.FATAL]) == '["ok", "fatal"]'


def test_an_unknown_level_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'error' is a verbosity; a severity is one of ok, warn"):
        Severity("error")
    with pytest.raises(ValueError, match="must be one of .*, got 'debgu'; did you mean 'debug'"):
        Verbosity("debgu")
    with pytest.raises(ValueError, match="must be one of ok, warning, critical, got 2"):
        Severity(2)
