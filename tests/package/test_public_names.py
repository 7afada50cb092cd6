"""What the package shows, and that it stays light and in one reading order."""

import subprocess
import sys
import typing
from pathlib import Path

import pytest

import edr

PACKAGE = Path(edr.__file__).parent
OPTIONAL = {"rich", "anyio", "uvloop", "matplotlib", "hypothesis", "nats", "aiormq"} | {
    "structlog",
    "prometheus_client",
    "opentelemetry",
    "pytest",
}


def test_all_lists_what_is_visible():
    packages = {path.stem for path in PACKAGE.iterdir()}
    visible = {name for name in vars(edr) if not name.startswith("_")} - packages

    assert visible == set(edr.__all__)
    assert edr.__all__ == sorted(edr.__all__)


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
        aclose add_service add_tap bind closed drain emit emit_nowait emit_threadsafe
        enter explain join journal loop on publish publish_nowait
        publish_threadsafe remove_service remove_tap services
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


def test_import_loads_no_optional_package():
    program = "import sys, edr; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not OPTIONAL & set(loaded)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("edr", "edr.links"),
        ("edr", "edr.wire"),
        ("edr.links", "nats"),
        ("edr.links", "aiormq"),
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
