import json

import pytest

import edr
from edr.cli.exits import CommandError, Exit
from edr.cli.filters import SEVERITIES, VERBOSITIES, FilterFlags


def matches(flags, event):
    """Whether a real binding made of the flags matches the event."""
    read = edr.bindings_from_json(json.dumps(flags.documents()))
    return any(binding.matches(event) for binding in read)


def matching_bodies(make_event, *conditions, bodies):
    flags = FilterFlags(body=conditions)
    return [body for body in bodies if matches(flags, make_event(body=body))]


def test_levels_are_those_of_events():
    assert list(edr.Severity) == list(SEVERITIES)
    assert list(edr.Verbosity) == list(VERBOSITIES)


def test_filter_without_flags_is_the_default_binding():
    assert edr.bindings_from_json(FilterFlags().documents()) == [edr.Binding()]


@pytest.mark.parametrize(
    ("flag", "levels"),
    [
        ("ok", ["ok", "warning", "critical"]),
        ("warning", ["warning", "critical"]),
        ("=warning", ["warning"]),
        ("critical,ok", ["ok", "critical"]),
        ("ok, warning", ["ok", "warning"]),
        ("=ok,critical", ["ok", "critical"]),
    ],
)
def test_severity_flag_matches_levels(make_event, flag, levels):
    flags = FilterFlags(severity=flag)

    assert [each for each in SEVERITIES if matches(flags, make_event(severity=each))] == levels


@pytest.mark.parametrize(
    ("flag", "levels"),
    [("error", ["error", "fatal"]), ("=debug", ["debug"]), ("trace,info", ["trace", "info"])],
)
def test_verbosity_flag_matches_levels(make_event, flag, levels):
    flags = FilterFlags(verbosity=flag)

    assert [each for each in VERBOSITIES if matches(flags, make_event(verbosity=each))] == levels


def test_app_flag_matches_its_names(make_event):
    flags = FilterFlags(app=("acdc,callflow", "crossbar"))

    found = [n for n in ("acdc", "callflow", "crossbar", "a") if matches(flags, make_event(n))]
    assert found == ["acdc", "callflow", "crossbar"]


def test_app_wildcard_matches_every_app(make_event):
    assert matches(FilterFlags(app=("*",)), make_event("any"))


def test_account_flag_matches_the_account_alone(make_event):
    flags = FilterFlags(account=("reseller",))

    assert matches(flags, make_event(account_id="reseller"))
    assert not matches(flags, make_event(account_id="b", account_tree=("reseller",)))


def test_below_matches_descendants(make_event):
    flags = FilterFlags(account=("reseller",), below=True)

    assert matches(flags, make_event(account_id="reseller"))
    assert matches(flags, make_event(account_id="b", account_tree=("reseller",)))
    assert not matches(flags, make_event(account_id="b", account_tree=("other",)))


@pytest.mark.parametrize(
    ("conditions", "matching", "other"),
    [
        (["s=paused"], [{"s": "paused"}, {"s": ["a", "paused"]}], [{"s": "p"}, {}]),
        (["s=a", "s=b"], [{"s": "a"}, {"s": "b"}], [{"s": "c"}]),
        (["n=30"], [{"n": 30}, {"n": "30"}, {"n": 30.0}], [{"n": 31}]),
        (["n=-1.5e1"], [{"n": -15}, {"n": "-1.5e1"}], [{"n": 15}]),
        (['n="30"'], [{"n": "30"}], [{"n": 30}]),
        (["n=030"], [{"n": "030"}], [{"n": 30}]),
        (["n=1" + "0" * 30], [{"n": "1" + "0" * 30}], [{"n": 1}]),
        (["n=1e999"], [{"n": "1e999"}], [{"n": 1}]),
        (["b=true"], [{"b": True}, {"b": "true"}], [{"b": 1}, {"b": False}]),
        (["b=null"], [{"b": None}, {"b": "null"}], [{}, {"b": 0}]),
        (["b="], [{"b": ""}], [{"b": None}, {}]),
        (['b="'], [{"b": '"'}], [{"b": ""}]),
        (["b=x=y"], [{"b": "x=y"}], [{"b": "x"}]),
        (["s!=paused"], [{"s": "a"}, {"s": 1}], [{"s": "paused"}, {}]),
        (["s!=a", "s!=b"], [{"s": "c"}], [{"s": "a"}, {"s": "b"}]),
        (["n!=30"], [{"n": 31}], [{"n": 30}]),
        (["n>30"], [{"n": 31}], [{"n": 30}, {"n": "31"}]),
        (["n>=30"], [{"n": 30}], [{"n": 29}]),
        (["n<30"], [{"n": 29}], [{"n": 30}]),
        (["n<=-3"], [{"n": -3}], [{"n": 3}]),
        (["n<=60", "n>30"], [{"n": 31}, {"n": 60}], [{"n": 30}, {"n": 61}]),
        (["queue.id=q7"], [{"queue": {"id": "q7"}}], [{"queue.id": "q7"}, {"queue": "q7"}]),
        ([r"queue\.id=q7"], [{"queue.id": "q7"}], [{"queue": {"id": "q7"}}]),
        ([r"a\=b=c"], [{"a=b": "c"}], [{"a": "b=c"}]),
        (["q.a=1", "q.b=2"], [{"q": {"a": 1, "b": 2}}], [{"q": {"a": 1}}]),
        (["call_id?"], [{"call_id": None}, {"call_id": "c"}], [{}]),
        (["call_id?", "call_id=a"], [{"call_id": "a"}], [{"call_id": "b"}]),
        (["name~a*z"], [{"name": "az"}, {"name": "abcz"}], [{"name": "a"}]),
        (["name~a**z"], [{"name": "abz"}], [{"name": "a"}]),
        (["name~a*", "name~b*"], [{"name": "ax"}, {"name": "bx"}], [{"name": "cx"}]),
        (['{"a": {"b": [1]}}', "a.c=2"], [{"a": {"b": 1, "c": 2}}], [{"a": {"b": 1}}]),
        (['{"a": [{"prefix": "x"}]}'], [{"a": "xy"}], [{"a": "yx"}]),
    ],
)
@pytest.mark.filterwarnings("ignore::edr.PatternWarning")  # of a dot in a name
def test_conditions_match_bodies(make_event, conditions, matching, other):
    found = matching_bodies(make_event, *conditions, bodies=[*matching, *other])

    assert found == matching


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"severity": "warn"}, "-s must be one of ok, warning, critical, got 'warn'; did you mean"),
        ({"severity": "WARNING"}, "did you mean 'warning'?"),
        ({"severity": ""}, "-s must be one of ok, warning, critical, got ''"),
        ({"severity": "ok,"}, "-s must be one of ok, warning, critical, got ''"),
        ({"verbosity": "warning"}, "-v must be one of trace, debug, info, warn, error, fatal"),
        ({"app": ("a,,b",)}, "-a must be non-empty names with a comma between them"),
        ({"app": ("*,a",)}, '-a must be "*" for all or a list of names, got both'),
        ({"account": ("",)}, "-A must be non-empty names"),
        ({"below": True}, "--below must have an account: -A ACCOUNT --below"),
        ({"below": True, "account": ("*",)}, "--below must have an account"),
        ({"body": ("status",)}, "-b 'status' must have an operator: field=value"),
        ({"body": ("=x",)}, "-b '=x' must start with the name of a field"),
        ({"body": ("a..b=x",)}, "-b 'a..b=x' must start with the name of a field"),
        ({"body": (".a=x",)}, "must start with the name of a field"),
        ({"body": ("a.=x",)}, "must start with the name of a field"),
        ({"body": ("a?x",)}, "-b 'a?x' must end after '?'"),
        ({"body": ("a>b",)}, "-b 'a>b' must compare with a number, got 'b'"),
        ({"body": ("a>",)}, "must compare with a number, got ''"),
        ({"body": ("a>1e999",)}, "must compare with a number, got '1e999'"),
        ({"body": ("a>1", "a>=2")}, "-b 'a>=2': the field has two bounds on the same side, also"),
        ({"body": ("a>1", "a=2")}, "-b 'a=2': the field has conditions of two kinds, also 'a>1'"),
        ({"body": ("a!=1", "a!=b")}, "the field excludes a number and a text"),
        ({"body": ("a!=true",)}, "must exclude a text or a number, got true"),
        ({"body": ("a=1", "a.b=2")}, "-b 'a.b=2': the field 'a' has another condition already"),
        ({"body": ('{"a": [1]}', "a=2")}, "the field 'a' has another condition already"),
        ({"body": ('{"a": }',)}, """-b '{"a": }' must be a JSON object: """),
        ({"body": ('{"a": NaN}',)}, "must be a JSON object: "),
        ({"body": ('a="x"y"',)}, "must be a JSON string in its quotes"),
        (
            {"binding": "{}", "severity": "ok"},
            "--binding is a whole binding and cannot be combined",
        ),
        ({"binding": "@"}, "--binding @NAME must name a part"),
        ({"binding": "@alarms"}, "--binding @NAME works only with a running process"),
    ],
)
def test_wrong_flag_is_a_usage_error(flags, message):
    with pytest.raises(CommandError) as raised:
        FilterFlags(**flags).documents()

    assert message in str(raised.value)
    assert raised.value.exit is Exit.USAGE


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("{", "--binding: must be JSON"),
        ("[]", "--binding: must have at least one binding, got []"),
        ("[{}, 3]", "--binding: [1] must be an object, got a number"),
        ("absent.json", "--binding absent.json: No such file or directory; give a file"),
    ],
)
def test_wrong_binding_is_bad_input(binding, message):
    with pytest.raises(CommandError) as raised:
        FilterFlags(binding=binding).documents()

    assert message in str(raised.value)
    assert raised.value.exit is Exit.BAD_INPUT


def test_binding_is_read_from_json():
    assert FilterFlags(binding='{"severity": "critical"}').documents() == [{"severity": "critical"}]


def test_binding_is_read_from_a_file(tmp_path):
    path = tmp_path / "bindings.json"
    path.write_text('[{"app_name": "a"}, {"app_name": "ü"}]', encoding="utf-8")

    assert FilterFlags(binding=str(path)).documents() == [{"app_name": "a"}, {"app_name": "ü"}]


def test_binding_file_that_is_not_text_is_bad_input(tmp_path):
    path = tmp_path / "binding"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(CommandError, match="codec can't decode"):
        FilterFlags(binding=str(path)).documents()


def test_binding_of_a_part_is_looked_up():
    flags = FilterFlags(binding="@alarms")

    assert flags.part == "alarms"
    assert flags.documents({"alarms": [{"severity": "critical"}]}.__getitem__) == [
        {"severity": "critical"}
    ]


def test_printed_binding_reads_back():
    document = FilterFlags(severity="=warning", body=("a>3",)).documents()

    assert FilterFlags(binding=json.dumps(document)).documents() == document
