import pytest

from edr.cli.main import main


@pytest.fixture
def page(capsys, monkeypatch):
    def page(*arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        main([*arguments, "--help"])
        return capsys.readouterr().out

    return page


def test_flags_are_a_table_with_short_names_first(page):
    lines = page("tail").splitlines()

    assert "  -n, --last INT              begin with the last N earlier events that match" in lines
    assert any(
        line.startswith("  -b, --body CONDITION        a condition on the") for line in lines
    )


def test_text_is_wrapped_in_its_column(page):
    lines = page("tail", columns=70).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("  -b, --body"))

    assert lines[start + 1].startswith(" " * 30)


def test_choices_are_listed(page):
    assert "  -o, --output CHOICE         auto, text, json, logfmt; auto is text" in page("ls")


def test_choices_without_a_text_end_without_a_mark(page):
    assert "  ACTION                      pause, resume, restart\n" in page("sink")


def test_description_is_that_of_the_command(page):
    assert "Lost events are reported at their place." in " ".join(page("tail").split())


def test_argument_has_no_type(page):
    assert "  PROCESS                     a name of edr ls" in page("status")
