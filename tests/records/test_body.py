import copy
import datetime
import decimal
import enum
import json
import pickle
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from unittest.mock import MagicMock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import json_values

from edr import Binding, InvalidEventError
from edr.records.body import (
    INT_MAX,
    INT_MIN,
    MAX_DEPTH,
    FrozenDict,
    FrozenList,
    _copy_object,
    snapshot,
)


@given(st.dictionaries(st.text("abc", max_size=2), json_values))
def test_a_snapshot_equals_the_body_and_its_json(body):
    taken = snapshot(body)

    assert taken == body
    assert json.loads(json.dumps(taken)) == body
    assert orjson.dumps(taken) == orjson.dumps(body)


def test_a_later_change_of_the_body_is_not_seen():
    body = {"calls": [{"id": 1}], "state": "a"}
    taken = snapshot(body)
    body["calls"][0]["id"] = 2
    body["calls"].append({})
    body["state"] = "b"

    assert taken == {"calls": [{"id": 1}], "state": "a"}


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(a=1),
        lambda body: body.__setitem__("a", 1),
        lambda body: body.__delitem__("list"),
        lambda body: body.pop("list"),
        lambda body: body.popitem(),
        lambda body: body.clear(),
        lambda body: body.setdefault("x", 1),
        lambda body: body.__ior__({"x": 1}),
        lambda body: body["list"].append(1),
        lambda body: body["list"].extend([1]),
        lambda body: body["list"].insert(0, 1),
        lambda body: body["list"].pop(),
        lambda body: body["list"].remove(1),
        lambda body: body["list"].clear(),
        lambda body: body["list"].sort(),
        lambda body: body["list"].reverse(),
        lambda body: body["list"].__setitem__(0, 2),
        lambda body: body["list"].__delitem__(0),
        lambda body: body["list"].__iadd__([1]),
        lambda body: body["list"].__imul__(2),
        lambda body: body["list"][1].update(b=1),
        lambda body: body.__init__(b=1),
        lambda body: body["list"].__init__([2]),
        lambda body: body["list"][1].__init__(),
    ],
)
def test_a_subscriber_cannot_change_it_at_any_depth(change):
    taken = snapshot({"list": [1, {"deep": [1]}]})

    with pytest.raises(TypeError, match="copy.deepcopy"):
        change(taken)
    assert taken == {"list": [1, {"deep": [1]}]}


def test_a_deep_copy_is_plain_and_the_subscribers_own():
    taken = snapshot({"list": [1, {"deep": [1]}]})
    mine = copy.deepcopy(taken)
    mine["list"][1]["deep"].append(2)

    assert type(mine) is dict
    assert type(mine["list"]) is list
    assert type(copy.copy(taken)) is dict
    assert type(copy.copy(taken["list"])) is list
    assert taken == {"list": [1, {"deep": [1]}]}


def test_a_snapshot_survives_pickle():
    taken = snapshot({"list": [1, {"deep": [1]}]})
    again = pickle.loads(pickle.dumps(taken))

    assert again == taken
    assert type(again) is FrozenDict
    assert type(again["list"]) is FrozenList


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Real(float):
    pass


def test_subclasses_become_the_plain_value_that_they_hold():
    taken = snapshot(
        {
            Text("key"): Colour.RED,
            "number": Number.ONE,
            "real": Real(0.5),
            "tuple": (1, Text("é")),
            "ordered": OrderedDict(a=1),
            "proxy": MappingProxyType({"b": 2}),
            "inner": [Colour.RED, None, True, "ü"],
        }
    )

    assert taken == {
        "key": "red",
        "number": 1,
        "real": 0.5,
        "tuple": [1, "é"],
        "ordered": {"a": 1},
        "proxy": {"b": 2},
        "inner": ["red", None, True, "ü"],
    }
    assert type(taken["number"]) is int
    assert type(taken["real"]) is float
    assert {type(key) for key in taken} == {str}
    assert type(taken["key"]) is type(taken["inner"][0]) is str


class LastValue(dict):
    """A dict whose items() is not its content, as Django's MultiValueDict."""

    def __getitem__(self, key):
        return super().__getitem__(key)[-1]

    def items(self):
        return [(key, self[key]) for key in self]


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"in": v}, lambda v: {"in": [v]}])
def test_dict_whose_items_differ_is_copied_by_its_items(wrap):
    values = ["a", ["b"]]
    taken = snapshot(wrap(LastValue(q=values)))
    values[1].append("later")

    assert taken == wrap({"q": ["b"]})
    assert_frozen(taken)


def test_dict_whose_items_differ_is_checked_by_its_items():
    with pytest.raises(InvalidEventError, match="nan"):
        snapshot(LastValue(q=["a", float("nan")]))


class Anything(int):
    """An integer that lies about its order."""

    def __ge__(self, other):
        return True

    __le__ = __ge__


def test_integer_that_lies_about_its_order_is_checked_by_its_value():
    assert snapshot({"n": Anything(5)}) == {"n": 5}
    with pytest.raises(InvalidEventError, match="an integer outside"):
        snapshot({"n": Anything(10**30)})


@pytest.mark.parametrize("kind", [str, int, float, dict, list])
def test_mock_is_refused_whatever_it_stands_for(kind):
    with pytest.raises(InvalidEventError, match="a MagicMock is not a JSON value"):
        snapshot({"at": MagicMock(spec=kind)})
    with pytest.raises(InvalidEventError, match="must be a JSON object, got a MagicMock"):
        snapshot(MagicMock(spec=kind))


CYCLE = {}
CYCLE["again"] = [CYCLE]


@pytest.mark.parametrize(
    "bad",
    [
        b"bytes",
        {1, 2},
        float("nan"),
        float("inf"),
        float("-inf"),
        {1: "a"},
        {None: "a"},
        {("a",): 1},
        "\ud800",
        {"\udfff": 1},
        INT_MAX + 1,
        INT_MIN - 1,
        CYCLE,
        object(),
        datetime.datetime.now(datetime.UTC),
        decimal.Decimal(1),
        range(3),
        Ellipsis,
        1j,
    ],
    ids=lambda bad: repr(bad)[:20],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_what_is_no_json_value_is_refused_with_its_path(bad, depth):
    value, path = bad, ""
    for _ in range(depth):
        value, path = {"calls": ["x", {"at": value}]}, ".calls[1].at" + path

    with pytest.raises(InvalidEventError) as caught:
        snapshot({"top": value})
    assert caught.value.path.startswith(f"body.top{path}")
    assert caught.value.reason


class Color(enum.Enum):
    RED = "red"


@dataclass
class IndexKey:
    name: str


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (datetime.datetime.now(datetime.UTC), "isoformat()"),
        (datetime.timedelta(seconds=1), "total_seconds()"),
        (decimal.Decimal(1), "as text, with str, or as a float"),
        (uuid.UUID(int=1), "as text, with str"),
        (Path("a/b"), "as text, with str"),
        (ValueError("x"), "as text, with str or repr"),
        (b"x", "decode it, or take its hex()"),
        ({1}, "a list of what is in it"),
        (range(3), "a list of what is in it"),
        (Color.RED, "its value"),
        (IndexKey("x"), "dataclasses.asdict of it"),
        (Binding(), 'model_dump(mode="json")'),
        (SimpleNamespace(), "send text, a number, a list or an object"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_refused_value_is_told_how_to_become_json(value, way_out):
    with pytest.raises(InvalidEventError) as caught:
        snapshot({"at": value})

    assert caught.value.reason.endswith(way_out)


class Scalar:
    """Has what a scalar of numpy has."""

    def item(self):
        return 1


class HasEverything:
    """Says that it has whatever it is asked for, or fails at that."""

    def __getattr__(self, name):
        raise RuntimeError(name)


def test_a_way_out_is_found_by_type_alone():
    with pytest.raises(InvalidEventError, match=r"send its item\(\)"):
        snapshot({"at": Scalar()})
    with pytest.raises(InvalidEventError, match="a HasEverything is not a JSON value; send text"):
        snapshot({"at": HasEverything()})


def test_the_path_quotes_names_that_are_no_identifiers():
    with pytest.raises(InvalidEventError) as caught:
        snapshot({"a.b": [{"": {'say "x"': {"c": b""}}}]})

    assert caught.value.path == """body["a.b"][0][""]['say "x"'].c"""


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}])
def test_nesting_is_bounded(wrap):
    value = "leaf"
    for _ in range(MAX_DEPTH - 1):
        value = wrap(value)
    assert snapshot({"v": value})["v"] == value

    with pytest.raises(InvalidEventError, match="nested deeper than 128"):
        snapshot({"v": wrap(value)})


def test_nesting_is_bounded_also_where_a_body_holds_a_body():
    body = {}
    with pytest.raises(InvalidEventError, match="nested deeper"):
        for _ in range(MAX_DEPTH + 1):
            body = {"inner": snapshot(body)}


def test_a_snapshot_of_a_snapshot_is_the_same_object():
    taken = snapshot({"a": [1]})

    assert snapshot(taken) is taken


def test_the_limits_of_integers_are_in():
    assert snapshot({"n": [INT_MIN, INT_MAX]}) == {"n": [INT_MIN, INT_MAX]}


@given(st.dictionaries(st.text("abc", max_size=2), json_values))
def test_the_quick_copy_and_the_careful_walk_agree(body):
    careful, quick = _copy_object(body, MAX_DEPTH), snapshot(body)

    assert careful == quick
    assert repr(careful) == repr(quick)  # 1 and 1.0 and True are equal, but not alike
    assert_frozen(quick)
    assert_frozen(careful)


def assert_frozen(value):
    assert type(value) not in {dict, list, tuple}
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            assert_frozen(inner)
