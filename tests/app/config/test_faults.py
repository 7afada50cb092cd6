from edr.app.config import ConfigurationError, Fault
from edr.app.config.faults import MAX_PATH, MAX_SHOWN, line_of, located, path_text, table


def test_a_report_has_columns():
    error = ConfigurationError("edr.toml", [Fault("a", 1, "x"), Fault("long.path", 12, "y")])

    assert str(error) == (
        "edr.toml: 2 faults, nothing was started\n"
        "  a           line 1    x\n"
        "  long.path   line 12   y"
    )


def test_a_long_report_is_cut():
    error = ConfigurationError("edr.toml", [Fault("a", n, "x") for n in range(MAX_SHOWN + 7)])

    assert str(error).endswith("\n  and 7 more")
    assert str(error).count("\n") == MAX_SHOWN + 1


def test_a_very_long_path_moves_its_own_line_only():
    lines = table([Fault("a", 1, "x"), Fault("b" * 70, 2, "y")])

    assert lines == ["  a   line 1   x", f"  {'b' * 70}   line 2   y"]


def test_faults_are_given_once_and_in_the_order_of_the_file():
    lines = {("b",): 1, ("a",): 2}

    found = located([(("a",), "x"), (("b",), "y"), (("a",), "x")], lines)

    assert found == (Fault("b", 1, "y"), Fault("a", 2, "x"))


def test_control_characters_are_escaped():
    [fault] = located([(("a\n",), "x\x1b\ud800")], {})

    assert fault == Fault('["a\\u000a"]', None, "x\\u001b\\ud800")


def test_a_missing_key_has_the_line_of_its_table():
    assert line_of(("a", "b", "c"), {("a",): 3}) == 3


def test_a_path_is_written_as_in_toml():
    assert (
        path_text(("sinks", "my-hook", "bindings", 0, "a.b")) == 'sinks.my-hook.bindings[0]["a.b"]'
    )


def test_the_middle_of_a_long_path_is_left_out():
    text = path_text(("a",) * 1000)

    assert len(text) == MAX_PATH + 1
    assert text.startswith("a.a.")
    assert text.endswith(".a")
