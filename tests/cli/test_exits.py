from edr.cli.exits import CommandError, Exit


def test_error_has_an_exit_code_and_a_reason():
    error = CommandError(Exit.UNAVAILABLE, "no process is exposed")

    assert error.exit == 69
    assert str(error) == "no process is exposed"


def test_exit_codes_are_distinct():
    assert len({int(code) for code in Exit.__members__.values()}) == len(Exit.__members__)
