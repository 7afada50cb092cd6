"""Random valid configurations: a value for each key, by the form that the key has in the file."""

import re

from hypothesis import strategies as st
from support.pattern_strategies import patterns
from support.strategies import some_bindings

from edr.app.config.formats import FORMATS
from edr.app.config.links import LINKS
from edr.app.config.model import Configuration
from edr.app.config.section import Section, written_of
from edr.app.config.sinks import SINKS
from edr.app.config.sources import SOURCES
from edr.patterns import DEFAULT_LIMITS

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
secrets = st.builds(lambda text: {"file": text}, texts) | st.sampled_from([{"env": "EDR_A"}])
bindings = st.lists(
    some_bindings().map(lambda binding: binding.model_dump(mode="json"))
    | patterns.map(lambda pattern: {"body": pattern}),
    min_size=1,
    max_size=2,
)

FORMS = {
    "number": st.integers(1, 15),
    "size": st.sampled_from(["2 MiB", 3 * 2**20 + 1, "1.5 MiB"]),
    "duration": st.sampled_from([1, 1.5, "2s", 1 / 3 + 1, "0.1m"]),
    'duration or `"unlimited"`': st.sampled_from(["unlimited", "1h 30m", 86400, 1.25]),
    "boolean": st.booleans(),
    "text": texts,
    "name": names,
    "path": texts,
    "mode": st.sampled_from(["0600", "640", "0777"]),
    "host:port": st.sampled_from(["127.0.0.1:80", "[::1]:8490"]),
    "package:function": st.just("a.b:c"),
    "secret": secrets,
    "URL or secret": secrets,
    "table of texts and secrets": st.dictionaries(st.sampled_from(["X-A", "b"]), texts | secrets),
    "bindings": bindings,
    'bindings or `"wanted"`': bindings | st.sampled_from(["wanted", []]),
    "array of origins": st.sampled_from([[], ["https://ops.example.net", "http://[::1]:80"]]),
    "array of host names": st.sampled_from([["*"], ["Edr.example.net", "[::1]"]]),
    "array of addresses": st.sampled_from([[], ["10.0.0.0/8", "::1"]]),
    "path of a URL": st.sampled_from(["/", "/blackhole", "/a/b-c"]),
    "array of names": st.lists(names, max_size=2),
}
"""Values of each form that every key of the form accepts."""


def table(model):
    """Return a strategy of tables for a model, with some of its keys."""
    keys = {name: field for name, field in model.model_fields.items() if name != "type"}
    return st.fixed_dictionaries(
        {name: value_of(field) for name, field in keys.items() if field.is_required()},
        optional={name: value_of(field) for name, field in keys.items() if not field.is_required()},
    )


def value_of(field):
    if (written := written_of(field)) is not None:
        return of_form(written.form)
    for each in getattr(field.annotation, "__args__", (field.annotation,)):
        if isinstance(each, type) and issubclass(each, Section):
            return table(each)
    raise AssertionError(f"a key of an unknown form: {field!r}")


def of_form(form):
    if form == "name or table":
        return one_of(FORMATS) | st.sampled_from(sorted(FORMATS))
    if form in FORMS:
        return FORMS[form]
    choice = st.sampled_from(re.findall(r'`"(\w+)"`', form))
    return st.lists(choice) if form.startswith("array") else choice


def one_of(models):
    return st.sampled_from(sorted(models)).flatmap(
        lambda kind: table(models[kind]).map(lambda found: {**found, "type": kind})
    )


def validated(document):
    return Configuration.model_validate(document, context={"limits": DEFAULT_LIMITS})


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(names, one_of(models), max_size=2)
        for name, models in (("sources", SOURCES), ("links", LINKS), ("sinks", SINKS))
    }
    | {
        name: value_of(Configuration.model_fields[name])
        for name in ("app", "journal", "control", "http", "web")
    },
)

CONFIGURATIONS = DOCUMENTS.map(validated)
