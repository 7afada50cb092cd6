import json
import pickle

import jsonschema
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from support.strategies import events, names

import edr
from edr import (
    Binding,
    BindingIndex,
    InvalidBindingError,
    InvalidEventError,
    Limits,
    Pattern,
    Severity,
    Verbosity,
    bindings_from_json,
    bindings_to_json,
)
from edr.records import EVERY_EVENT


def one_or_many(items):
    return items | st.lists(items, min_size=1, max_size=3)


bindings = st.builds(
    Binding,
    account_id=st.just("*") | one_or_many(names),
    include_descendants=st.booleans(),
    app_name=st.just("*") | one_or_many(names),
    severity=one_or_many(st.sampled_from(Severity)),
    exact_severity=st.booleans(),
    verbosity=one_or_many(st.sampled_from(Verbosity)),
    exact_verbosity=st.booleans(),
)


@given(bindings)
def test_json_there_and_back_gives_an_equal_binding(binding):
    assert Binding.model_validate_json(binding.model_dump_json()) == binding
    assert bindings_from_json(bindings_to_json(binding)) == binding
    assert bindings_from_json(json.dumps(bindings_to_json([binding] * 2))) == [binding] * 2
    jsonschema.validate(bindings_to_json(binding), Binding.model_json_schema())
    assert hash(binding) == hash(Binding.model_validate_json(binding.model_dump_json()))


def test_every_event_matches_each_level_account_and_app(make_event):
    for verbosity in edr.Verbosity:
        for account_id in (None, "acme"):
            event = make_event(verbosity=verbosity, account_id=account_id)
            assert EVERY_EVENT.matches(event)


def test_the_default_takes_everything_from_info_up(make_event):
    assert Binding().matches(make_event(account_id="a"))
    assert Binding().matches(make_event(severity="critical", verbosity="fatal"))
    assert not Binding().matches(make_event(verbosity="debug"))


@pytest.mark.parametrize(
    ("fields", "matching"),
    [
        ({"severity": "warning"}, {"warning", "critical"}),
        ({"severity": "warning", "exact_severity": True}, {"warning"}),
        ({"severity": ["ok", "critical"]}, {"ok", "critical"}),
        ({"severity": ["warning"], "exact_severity": False}, {"warning"}),
        ({"severity": ["ok", "critical"], "exact_severity": True}, {"ok", "critical"}),
    ],
)
def test_one_level_is_a_threshold_and_a_list_is_exact(make_event, fields, matching):
    binding = Binding(**fields)

    assert {s for s in Severity if binding.matches(make_event(severity=s))} == matching


@pytest.mark.parametrize(
    ("fields", "matching"),
    [
        ({"verbosity": "error"}, {"error", "fatal"}),
        ({"verbosity": "trace"}, set(Verbosity)),
        ({"verbosity": "debug", "exact_verbosity": True}, {"debug"}),
        ({"verbosity": ["trace", "warn"]}, {"trace", "warn"}),
    ],
)
def test_verbosity_works_alike(make_event, fields, matching):
    binding = Binding(**fields)

    assert {v for v in Verbosity if binding.matches(make_event(verbosity=v))} == matching


def test_an_account_matches_only_itself_unless_descendants_are_wanted(make_event):
    own = make_event(account_id="acme", account_tree=["root"])
    below = make_event(account_id="shop", account_tree=["root", "acme"])
    nobodys = make_event()

    assert [Binding(account_id="acme").matches(e) for e in (own, below, nobodys)] == [1, 0, 0]
    tree = Binding(account_id="acme", include_descendants=True)
    assert [tree.matches(e) for e in (own, below, nobodys)] == [1, 1, 0]
    both = Binding(account_id=["x", "acme"], include_descendants=True)
    assert [both.matches(e) for e in (own, below, nobodys)] == [1, 1, 0]
    everything = Binding(include_descendants=True)
    assert [everything.matches(e) for e in (own, below, nobodys)] == [1, 1, 1]


def test_a_star_is_a_wildcard_only_as_the_whole_value(make_event):
    assert Binding(app_name="*").matches(make_event("x"))
    assert not Binding(app_name=["*"]).matches(make_event("x"))
    assert Binding(app_name=["*"]).matches(make_event("*"))
    assert not Binding(app_name="call*").matches(make_event("callflow"))
    assert not Binding(account_id=["*"]).matches(make_event())


@pytest.mark.parametrize(
    "name", ["a.b", "#", "a>b", "two words", "line\nfeed", "звонок", "通話", "*x"]
)
def test_names_are_plain_text(make_event, name):
    event = make_event(name, account_id=name)

    assert Binding(app_name=name, account_id=name).matches(event)
    assert not Binding(app_name=name + "x").matches(event)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"severity": []}, "severity"),
        ({"severity": "loud"}, "severity"),
        ({"verbosity": ["info", "loud"]}, "verbosity[1]"),
        ({"verbosity": None}, "verbosity"),
        ({"app_name": ""}, "app_name"),
        ({"app_name": []}, "app_name"),
        ({"app_name": "\ud800"}, "app_name"),
        ({"account_id": ["a", ""]}, "account_id[1]"),
        ({"account_id": 5}, "account_id"),
        ({"account_id": None}, "account_id"),
        ({"include_descendants": "maybe"}, "include_descendants"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(fields, path):
    for make in (lambda: Binding(**fields), lambda: bindings_from_json(fields)):
        with pytest.raises(InvalidBindingError) as caught:
            make()
        assert caught.value.path == path


def test_a_wrong_binding_in_a_list_is_named():
    with pytest.raises(InvalidBindingError) as caught:
        bindings_from_json([{}, {"severity": "loud"}])
    assert caught.value.path == "[1].severity"

    for document in ("{", "5", 5, [5], [], "[]", None):
        with pytest.raises(InvalidBindingError):
            bindings_from_json(document)


def test_a_kazoo_document_is_read_as_it_stands():
    document = {
        "account_id": ["a", "b"],
        "include_descendants": "true",
        "app_name": "*",
        "severity": ["ok", "critical"],
        "exact_severity": False,
        "verbosity": "debug",
    }

    assert bindings_from_json(document) == Binding(
        account_id=["a", "b"],
        include_descendants=True,
        severity=["critical", "ok", "ok"],
        verbosity="debug",
    )


def test_a_body_pattern_is_part_of_the_binding(make_event):
    document = {
        "status": ["paused", {"prefix": "wrap"}],
        "wait": [{"numeric": [">", 30, "<=", 60]}],
    }
    binding = Binding(app_name="agents", body=document)

    assert binding.matches(make_event("agents", body={"status": "wrapup", "wait": 31}))
    assert not binding.matches(make_event("agents", body={"status": "ready", "wait": 31}))
    assert not binding.matches(make_event("other", body={"status": "wrapup", "wait": 31}))
    assert bindings_to_json(binding)["body"] == document
    assert bindings_from_json(bindings_to_json(binding)) == binding
    assert Binding.model_validate_json(binding.model_dump_json()) == binding
    assert hash(Binding.model_validate_json(binding.model_dump_json())) == hash(binding)
    jsonschema.validate(bindings_to_json(binding), Binding.model_json_schema())


def schemas_of(node):
    """Return each object in a JSON document, whatever its depth."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from schemas_of(each)


def test_openapi_of_an_application_refers_to_itself_alone():
    app = FastAPI()

    class Rule(BaseModel):
        bindings: list[Binding]

    @app.post("/bindings")
    async def bind(binding: Binding) -> Rule: ...

    document = json.loads(json.dumps(app.openapi()))
    references = [each["$ref"] for each in schemas_of(document) if "$ref" in each]
    assert references
    assert not [each for each in schemas_of(document) if "$id" in each]
    for reference in references:
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]  # a KeyError: the reference leads nowhere

    schema = document["components"]["schemas"]["Binding-Input"] | {
        "components": document["components"]
    }
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"body": {"a": {"$or": [{"b": ["x"]}, {"c": [1]}]}}}, schema)
    for wrong in ({"a": "x"}, {"a": {"b": {"c": []}}}, {"$or": [{"b": ["x"]}]}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"body": wrong}, schema)


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_json_schema_refers_to_itself_alone(mode):
    schema = Binding.model_json_schema(mode=mode)

    assert {each["$ref"] for each in schemas_of(schema) if "$ref" in each} == {
        "#/$defs/BodyPattern"
    }
    jsonschema.validate(bindings_to_json(Binding(body={"a": [{"exists": True}]})), schema)


def test_binding_of_raised_limits_is_read_back_with_them():
    limits = Limits(max_fields=1_000)
    document = {f"field {n}": ["x"] for n in range(500)}
    binding = Binding(body=Pattern(document, limits=limits))
    text = binding.model_dump_json()

    assert Binding.model_validate_json(text, context={"limits": limits}) == binding
    assert bindings_from_json(text, limits=limits) == binding
    with pytest.raises(InvalidBindingError, match=r"Limits\.max_fields"):
        Binding.model_validate_json(text)


def test_a_wrong_body_pattern_is_named_by_its_path():
    with pytest.raises(InvalidBindingError) as caught:
        Binding(body={"queue": {"id": [{"numeric": [">", "x"]}]}})
    assert caught.value.path == "body.queue.id[0].numeric[1]"

    with pytest.raises(InvalidBindingError) as caught:
        bindings_from_json([{}, {"body": {"a.b": []}}])
    assert caught.value.path == '[1].body["a.b"]'
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"body": {"a": "x"}}, Binding.model_json_schema())


def test_explain_names_every_field_and_path_that_disagrees(make_event):
    binding = Binding(
        app_name=["agents"],
        severity="critical",
        verbosity="error",
        account_id="acme",
        include_descendants=True,
        body={"calls": {"id": [{"exists": True}], "wait": [{"numeric": [">", 30]}]}},
    )
    event = make_event(
        "pbx", account_id="shop", account_tree=["root"], body={"calls": [{"id": 1, "wait": 5}]}
    )
    reasons = {mismatch.path: mismatch for mismatch in binding.explain(event)}

    assert list(reasons) == [
        "app_name",
        "severity",
        "verbosity",
        "account_id",
        "account_tree",
        "body.calls[0].wait",
    ]
    assert (reasons["severity"].wanted, reasons["severity"].found) == (["critical"], "ok")
    assert str(reasons["body.calls[0].wait"]) == (
        'body.calls[0].wait: wanted [{"numeric": [">", 30]}], found 5'
    )


@given(bindings, st.data())
def test_explain_is_empty_just_when_the_binding_matches(binding, data):
    event = data.draw(events)

    assert (binding.explain(event) == ()) == binding.matches(event)


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ("billing", "say app_name='billing'"),
        ({"severity": "ok"}, "edr.bindings_from_json makes one of it"),
        ([Binding()], r"give several one by one: \*bindings"),
    ],
)
def test_what_is_no_binding_is_told_how_to_become_one(given, way_out):
    with pytest.raises(InvalidBindingError, match=way_out):
        BindingIndex().add("x", given)


# Limits ---------------------------------------------------------------------------------------


def test_bindings_of_strangers_are_read_with_stricter_limits():
    strict = edr.Limits.untrusted()
    many = {"body": {"x": [f"{n}" for n in range(1_000)]}}

    assert edr.bindings_from_json(many)
    with pytest.raises(InvalidBindingError, match=r"^body.x: .* Limits.max_elements = 256"):
        edr.bindings_from_json(many, limits=strict)
    with pytest.raises(InvalidBindingError, match=r"^\[1\].body.x: "):
        edr.bindings_from_json([{}, many], limits=strict)
    with pytest.raises(InvalidBindingError, match=r"Limits.max_elements"):
        Binding.model_validate(many, context={"limits": strict})


def test_the_number_of_bindings_and_of_their_names_is_limited_for_strangers():
    strict = edr.Limits.untrusted()
    names = [f"n{n}" for n in range(9)]

    with pytest.raises(InvalidBindingError, match=r"^the document has .*Limits.max_bindings = 16"):
        edr.bindings_from_json([{}] * 17, limits=strict)
    with pytest.raises(InvalidBindingError, match=r"account_id: .*81 pairs.*Limits.max_names = 64"):
        edr.bindings_from_json({"app_name": names, "account_id": names}, limits=strict)
    assert edr.bindings_from_json({"app_name": names[:8], "account_id": names[:8]}, limits=strict)


def test_a_pattern_with_limits_of_its_own_can_be_bound_and_pickled():
    wide = {"x": [{"wildcard": f"*{n}*x*"} for n in range(1_000)]}

    with pytest.raises(InvalidBindingError, match=r"Limits.max_cost"):
        Binding(body=wide)
    binding = Binding(body=edr.Pattern(wide, limits=edr.Limits(max_cost=400)))

    assert pickle.loads(pickle.dumps(binding)) == binding


def test_a_million_unknown_fields_make_a_short_message():
    with pytest.raises(InvalidBindingError) as caught:
        Binding.model_validate({f"field_{n}": n for n in range(1_000)})

    assert len(str(caught.value)) < 2_000
    assert "and 989 more" in str(caught.value)


def test_explain_returns_the_mismatches_of_the_nearest_binding(make_event):
    event = make_event(app_name="a", account_id="acme")
    far = Binding(app_name="b", severity="critical")
    near = Binding(app_name="a", severity="critical")

    assert edr.explain(event, far, near) == near.explain(event)
    assert edr.explain(event, near, Binding(app_name="c")) == near.explain(event)
    assert edr.explain(event, far, Binding()) == ()


def test_explain_without_a_binding_has_no_filter(make_event):
    assert edr.explain(make_event(verbosity="trace")) == ()


def test_explain_refuses_other_arguments(make_event):
    with pytest.raises(InvalidEventError, match=r"must be an edr\.Event"):
        edr.explain({}, Binding())
    with pytest.raises(InvalidBindingError):
        edr.explain(make_event(), "a")


@given(events, st.lists(bindings, min_size=1, max_size=3))
def test_explain_is_empty_if_and_only_if_a_binding_matches(event, some):
    assert (edr.explain(event, *some) == ()) == any(each.matches(event) for each in some)
