import pytest

from edr.control.connection import RequestError
from edr.control.fields import Fields

WILDCARDS = [{"wildcard": f"*a*{n}*b"} for n in range(100)]

NAMES = [str(n) for n in range(80)]


def fault(read, **fields):
    with pytest.raises(RequestError) as raised:
        read(Fields({"id": 1, "do": "tail", **fields}, *fields))
    return raised.value.code, raised.value.path, raised.value.detail


def test_an_unknown_field_is_refused_with_the_nearest_name():
    with pytest.raises(RequestError) as raised:
        Fields({"id": 1, "do": "tail", "bindngs": []}, "bindings", "last")

    assert raised.value.path == "bindngs"
    assert raised.value.detail == "tail has no such field; did you mean 'bindings'?"


def test_a_missing_field_and_null_have_the_default():
    for request in ({"do": "x"}, {"do": "x", "a": None}):
        fields = Fields(request, "a")

        assert fields.flag("a") is False
        assert fields.number("a", 3, 0, 9) == 3
        assert fields.seconds("a", 1.5, 0, 9) == 1.5
        assert fields.text("a") is None
        assert fields.object("a") is None
        assert fields.bindings("a") == ()


@pytest.mark.parametrize("value", [-1, 11, 1.0, True, "1", []])
def test_a_number_has_limits_and_one_type(value):
    code, path, detail = fault(lambda fields: fields.number("n", None, 0, 10), n=value)

    assert (code, path) == ("invalid_request", "n")
    assert detail.startswith("must be a whole number from 0 to 10, got ")


@pytest.mark.parametrize("value", [0.1, 61, True, "1", {}])
def test_seconds_have_limits(value):
    assert fault(lambda fields: fields.seconds("s", 1, 0.2, 60), s=value)[1] == "s"


@pytest.mark.parametrize("value", [0, 1, "true", []])
def test_a_flag_is_true_or_false(value):
    assert "must be true or false" in fault(lambda fields: fields.flag("f"), f=value)[2]


@pytest.mark.parametrize("value", ["", 1, []])
def test_a_text_is_not_empty(value):
    assert fault(lambda fields: fields.text("t"), t=value)[1] == "t"


def test_a_required_text_is_not_missing():
    assert "required" in fault(lambda fields: fields.required_text("t"), t=None)[2]


def test_bindings_are_an_array_or_one_object():
    for value in ([{"severity": "warning"}], {"severity": "warning"}):
        (binding,) = Fields({"do": "x", "bindings": value}, "bindings").bindings()

        assert binding.severity == "warning"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([{}, {"severity": "wrong"}], "bindings[1].severity"),
        ({"severity": "wrong"}, "bindings.severity"),
        ([5], "bindings[0]"),
        ([], "bindings"),
        ([{"body": {"a": [{"prefix": 5}]}}], "bindings[0].body.a[0].prefix"),
        ([{}] * 257, "bindings"),
        ([{"app_name": NAMES, "account_id": NAMES}] * 2, "bindings"),
        ([{"body": {"a": WILDCARDS}}], "bindings[0].body.a"),
    ],
)
def test_an_invalid_binding_is_refused_with_its_path(value, path):
    assert fault(Fields.bindings, bindings=value)[:2] == ("invalid_binding", path)


def test_bindings_of_another_type_are_refused():
    assert fault(Fields.bindings, bindings="x")[:2] == ("invalid_request", "bindings")


def test_long_lists_of_names_and_values_are_accepted():
    names = [f"app{n}" for n in range(1000)]
    document = {"app_name": names, "body": {"id": [f"q{n}" for n in range(200)]}}

    assert Fields({"do": "x", "bindings": [document]}, "bindings").bindings()
