"""What the package shows, and that it stays light and in one reading order."""

import ast
import importlib
import inspect
import pickle
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import edr
import edr.links
import edr.wire
from edr._util import lazy

PACKAGE = Path(edr.__file__).parent
OPTIONAL = {"rich", "anyio", "uvloop", "matplotlib", "hypothesis", "nats", "aiormq", "aiohttp"} | {
    "structlog",
    "prometheus_client",
    "opentelemetry",
    "pytest",
}


LAZY = sorted(name for name in lazy.tables if name.startswith("edr"))
LIGHT = """
    edr.errors edr._util.text edr._util.log edr._util.backoff edr._util.tasks edr.wire.escaping
    edr.control.client edr.cli.tail edr.cli.status edr.cli.explain edr.cli.ls edr.cli.emit
"""


def run(program):
    """Run a program in a process that has not loaded edr, and return the words that it prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def seen_by_type_checkers(package):
    tree = ast.parse(inspect.getsource(package))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    for node in block.body:
        for alias in node.names:
            is_module = node.module == package.__name__
            yield alias.asname or alias.name, None if is_module else node.module


def test_all_lists_the_names_that_are_visible():
    packages = {path.stem for path in PACKAGE.iterdir()}

    assert {name for name in dir(edr) if not name.startswith("_")} - packages == set(edr.__all__)
    assert edr.__all__ == sorted(edr.__all__)
    assert {name for name, source in lazy.tables["edr"].items() if source} == set(edr.__all__)


def test_each_package_is_an_attribute():
    packages = {path.parent.name for path in PACKAGE.glob("[a-z]*/__init__.py")}

    assert {name for name, source in lazy.tables["edr"].items() if source is None} == packages | {
        "errors"
    }


@pytest.mark.parametrize("name", LAZY)
def test_lazy_names_are_those_that_type_checkers_see(name):
    package = importlib.import_module(name)

    assert dict(seen_by_type_checkers(package)) == lazy.tables[name]
    assert name == "edr" or lazy.tables[name].keys() <= set(package.__all__)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_name_is_the_object_of_its_module(name):
    package = importlib.import_module(name)
    for shown, source in lazy.tables[name].items():
        module = importlib.import_module(source or f"{name}.{shown}")
        assert getattr(package, shown) is (getattr(module, shown) if source else module)


@pytest.mark.parametrize("name", LAZY)
def test_no_lazy_name_is_hidden_by_a_module_of_its_package(name):
    folder = Path(importlib.import_module(name).__file__).parent
    modules = {path.stem for path in folder.iterdir()}

    assert not modules & {shown for shown, source in lazy.tables[name].items() if source}


def test_import_loads_no_pydantic_asyncio_or_orjson():
    heavy = {"pydantic", "pydantic_core", "asyncio", "anyio", "orjson"}

    assert not heavy & set(run("import sys, edr; print(*sys.modules)"))


@pytest.mark.slow
def test_modules_of_the_command_line_load_no_pydantic():
    loaded = run(f"import sys, {', '.join(LIGHT.split())}; print(*sys.modules)")

    assert not {"pydantic", "pydantic_core", "edr.records"} & set(loaded)


@pytest.mark.slow
def test_star_import_has_every_name():
    names = run("from edr import *; print(*[name for name in dir() if name[0] != '_'])")

    assert names == edr.__all__


@pytest.mark.slow
def test_help_has_every_name():
    text = run("import pydoc, edr; print(pydoc.plaintext.document(edr))")

    assert set(edr.__all__) - {"connect"} <= {word.partition("(")[0] for word in text}


@pytest.mark.slow
@pytest.mark.parametrize("first", ["edr.records", "edr"])
def test_classes_are_of_edr_and_readable_whichever_is_loaded_first(first):
    program = f"import typing, {first} as m; typing.get_type_hints(m.Event); print(m.Event)"

    assert run(program) == ["<class", "'edr.Event'>"]


@pytest.mark.slow
def test_a_pickle_loads_in_a_process_that_has_not_loaded_edr(make_event):
    event = make_event(body={"n": 1})
    pickled = pickle.dumps([event, edr.Severity.OK, edr.emit, edr.InvalidEventError("no", "x")])

    assert run(f"import pickle; print(pickle.loads({pickled!r})[0].id)") == [event.id]


def test_every_public_thing_has_a_docstring():
    for name in edr.__all__:
        assert getattr(edr, name).__doc__, name


def test_every_public_thing_says_that_it_is_of_edr():
    for name in edr.__all__:
        assert getattr(edr, name).__module__ == "edr", name


def test_frameworks_can_read_the_annotations_of_what_holds_data():
    """They look names up in the module that a class names, which is `edr` and has few of them."""
    for name in set(edr.__all__) - {"Pattern"}:  # not made of its annotations
        typing.get_type_hints(getattr(edr, name))


METHODS = {
    edr.Bus: """
        aclose add_service add_tap ancestors bind closed drain emit emit_nowait emit_threadsafe
        enter explain join journal loop max_body on publish publish_all publish_nowait
        publish_threadsafe record remove_service remove_tap services
        statistics subscribe subscriptions wait_closed watch_interest
    """,
    edr.Subscription: """
        aclose batches bindings name ready rebind requeue_on_error shutdown statistics take
    """,
    edr.Handle: "bindings callback name payload statistics unbind",
    edr.Emitter: """
        account_id app_name app_version bus critical durable emit emit_nowait
        emit_threadsafe fields ok warning with_fields
    """,
}


@pytest.mark.parametrize("shown", METHODS, ids=lambda shown: shown.__name__)
def test_a_class_shows_no_name_by_accident(shown):
    assert {name for name in dir(shown) if not name.startswith("_")} == {*METHODS[shown].split()}


@pytest.mark.slow
def test_the_core_loads_no_optional_package():
    loaded = run("import sys; from edr import Bus; print(*{n.split('.')[0] for n in sys.modules})")

    assert not OPTIONAL & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("edr.bus", "edr.links"),
        ("edr.bus", "edr.wire"),
        ("edr.links", "nats"),
        ("edr.links", "aiormq"),
        ("edr.sinks", "aiohttp"),
    ],
)
def test_a_house_and_its_extras_are_loaded_only_when_asked_for(imported, absent):
    program = f"import sys, {imported}; print({absent!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "client", "message"),
    [
        ("NatsLink", "nats", "links to NATS need nats-py: install edr with its extra 'nats'"),
        (
            "JetStreamJournal",
            "nats",
            "links to NATS need nats-py: install edr with its extra 'nats'",
        ),
        (
            "RabbitLink",
            "aiormq",
            "links to RabbitMQ need aiormq: install edr with its extra 'rabbitmq'",
        ),
    ],
)
def test_a_link_whose_client_is_not_installed_says_what_to_install(name, client, message):
    program = f"import sys; sys.modules[{client!r}] = None; import edr.links; edr.links.{name}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert f"ImportError: {message}" in done.stderr


@pytest.mark.slow
def test_an_http_sink_without_its_client_says_what_to_install():
    program = "import sys; sys.modules['aiohttp'] = None; import edr.sinks; edr.sinks.HttpSink"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    message = "HTTP sinks need aiohttp: install edr with its extra 'http'"
    assert f"ImportError: {message}" in done.stderr
