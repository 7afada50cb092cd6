import importlib
import importlib.metadata
import io
import subprocess
import sys
import types
from typing import Annotated

import pytest
from cyclopts import App, Parameter

from edr.cli.exits import CommandError, Exit, OutputClosedError
from edr.cli.filters import FilterFlags
from edr.cli.main import COMMANDS, main, make_app
from edr.cli.output import Output, OutputFlags
from edr.errors import EdrError


@pytest.fixture
def fake_command(monkeypatch):
    """Make a function the command ``edr fake``."""

    def register(function):
        module = types.ModuleType("edr.cli.fake")
        module.fake = function
        monkeypatch.setitem(sys.modules, "edr.cli.fake", module)
        monkeypatch.setitem(COMMANDS, "fake", "Do nothing.")

    return register


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_has_help(name, capsys):
    assert main([name, "--help"]) == Exit.DONE
    assert f"Usage: edr {name}" in capsys.readouterr().out


def test_help_lists_each_command_and_the_exit_codes(capsys):
    assert main(["--help"]) == Exit.DONE

    printed = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {summary} " in printed for name, summary in COMMANDS.items())
    assert all(str(int(code)) in printed for code in Exit if code != Exit.BROKEN_PIPE)


def test_without_a_command_the_help_is_printed(capsys):
    assert main([]) == Exit.DONE
    assert "Usage: edr" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "summary"), COMMANDS.items())
def test_summary_begins_the_docstring_of_the_command(name, summary):
    command = getattr(importlib.import_module(f"edr.cli.{name}"), name)
    help_text = command.help if isinstance(command, App) else command.__doc__

    assert help_text.startswith(summary.removesuffix("."))


def test_help_fits_on_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    for name in COMMANDS:
        main([name, "--help"])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 70
    assert not any("object at" in line for line in lines)


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == Exit.DONE
    assert capsys.readouterr().out == importlib.metadata.version("edr") + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fak"], 'edr: unknown command "fak". Did you mean "fake"?'),
        (["fake", "--severty", "ok"], "unknown option: --severty. Did you mean --severity? See"),
        (["fake", "-q"], "edr: unknown option: -q. See edr fake --help."),
        (["fake", "a", "b"], "edr: unexpected argument 'b'. See edr fake --help."),
        (["fake", "-s"], "requires an argument. See edr fake --help."),
        (["fake", "-s", "ok", "-s", "ok"], "edr: parameter -s specified multiple times. See"),
        (["fake", "--count", "x"], 'invalid value for --count: unable to convert "x" into int. '),
        (
            ["fake", "-o", "jso"],
            'Choose from: "auto", "text", "json", "logfmt". Did you mean "json"',
        ),
        (["fake", "-s", "warn"], "edr: -s must be one of ok, warning, critical, got 'warn'; did"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(fake_command, capsys, arguments, message):
    def fake(
        name: str | None = None,
        /,
        *,
        count: Annotated[int, Parameter("--count")] = 0,
        filters: FilterFlags = FilterFlags(),
        output: OutputFlags = OutputFlags(),
    ):
        filters.documents()

    fake_command(fake)
    assert main(arguments) == Exit.USAGE

    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_flags_reach_the_command(fake_command):
    received = []

    def fake(
        name: str | None = None,
        /,
        *,
        filters: FilterFlags = FilterFlags(),
        output: OutputFlags = OutputFlags(),
    ):
        received.append((name, filters, output))

    fake_command(fake)
    line = "fake calls -s =ok -v warn -a a,b -A c --below -b x=1 -b -y?"
    assert main([*line.split(), "-b", '{"z": [1]}', "-b", "[q]=1", "-o", "json", "--utc"]) == 0

    filters = FilterFlags(
        severity="=ok",
        verbosity="warn",
        app=("a,b",),
        account=("c",),
        below=True,
        body=("x=1", "-y?", '{"z": [1]}', "[q]=1"),
    )
    assert received == [("calls", filters, OutputFlags(output="json", utc=True))]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandError(Exit.NO, "nothing matched"), 1, "edr: nothing matched\n"),
        (EdrError("wrong"), 65, "edr: wrong\n"),
        (CommandError(Exit.UNAVAILABLE, "\x1b[2J"), 69, "edr: \\u001b[2J\n"),
        (KeyboardInterrupt(), 130, ""),
        (OutputClosedError(), 141, ""),
    ],
)
def test_error_of_a_command_is_a_message_and_an_exit_code(
    fake_command, capsys, error, code, message
):
    def fake():
        raise error

    fake_command(fake)
    assert main(["fake"]) == code
    assert capsys.readouterr().err == message


def test_argument_that_is_not_utf_8_is_a_usage_error(capsys):
    assert main(["tail", "-b", "x=\udcff"]) == Exit.USAGE
    assert capsys.readouterr().err == "edr: an argument must be UTF-8, got 'x=\\udcff'\n"


def test_unexpected_error_is_raised(fake_command):
    def fake():
        raise ZeroDivisionError

    fake_command(fake)
    with pytest.raises(ZeroDivisionError):
        main(["fake"])


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (Exit.NO, 1), (69, 69)])
def test_exit_code_is_the_returned_value(fake_command, returned, code):
    fake_command(lambda: returned)

    assert main(["fake"]) == code


def test_pipe_that_closes_at_the_end_is_silent(fake_command, capsys, monkeypatch):
    class ClosedAtFlush(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", ClosedAtFlush())
    fake_command(lambda: Output().record({"a": 1}))

    assert main(["fake"]) == Exit.BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_parser_imports_no_command():
    code = "import sys; from edr.cli.main import make_app, COMMANDS; make_app(); print(sys.modules.keys() & {f'edr.cli.{n}' for n in COMMANDS})"  # noqa: E501
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert printed == "set()\n"


def test_commands_are_known_to_the_parser():
    assert set(COMMANDS) <= set(make_app())
