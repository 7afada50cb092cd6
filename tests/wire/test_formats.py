import pytest
from hypothesis import given
from support.strategies import events

from edr import wire
from edr.wire import FORMATS, WireFormat, wire_format


@pytest.mark.parametrize("name", FORMATS)
def test_format_has_the_functions_of_the_module_of_its_name(name, make_event):
    module = getattr(wire, name)
    form = wire_format(name)

    assert (form.name, form.content_type) == (name, module.CONTENT_TYPE)
    assert form.encode is module.encode
    assert form.decode is getattr(module, "decode", None)


@given(events)
def test_native_and_cloudevents_are_lossless(event):
    for name in ("native", "cloudevents"):
        form = wire_format(name)
        assert form.decode is not None
        assert form.decode(form.encode(event)) == event


def test_unknown_name_is_an_error_that_lists_the_names():
    with pytest.raises(ValueError, match=r"must be one of native, .*, got 'kazo'; did you mean"):
        wire_format("kazo")


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        FORMATS["mine"] = FORMATS["native"]  # type: ignore[index]


class Shout:
    name = "shout"
    content_type = "text/plain"
    decode = None

    def encode(self, event):
        return event.app_name.upper().encode()


def test_a_format_of_your_own_needs_no_base_class(make_event):
    form: WireFormat = Shout()

    assert form.encode(make_event(app_name="billing")) == b"BILLING"
