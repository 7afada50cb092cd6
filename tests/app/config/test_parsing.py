import pytest

from edr.app.config import ConfigurationError
from edr.app.config.parsing import parse


@pytest.mark.parametrize("data", [b"a.b = 1", b'\n {"a": {"b": 1}}', b"\xef\xbb\xbfa = { b = 1 }"])
def test_toml_and_json_are_recognized(data):
    found = parse(data, "edr")

    assert found.content == {"a": {"b": 1}}
    assert found.is_json == (b"{" in data[:3])
    assert ("a", "b") in found.lines


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a = 1\na = 2", 2, "must be valid TOML: cannot overwrite a value"),
        (b"a = 1\n\n[b", 3, "must be valid TOML: expected ']'"),
        (b'{"a":\n 1,}', 2, "must be valid JSON"),
        (b'{"a": 1, "a": 2}', None, "the key 'a' must be given once"),
        (b"a = '\xff'\n", 1, "must be UTF-8 text"),
        (b"a = 1\nb = '\xff'\n", 2, "must be UTF-8 text"),
        (b"a = " + b"[" * 100_000, None, "nesting"),
        (b'{"a": ' + b"[" * 100_000, None, "nesting"),
        (b"a = " + b"9" * 5000, None, "beyond the usual range"),
        (b'{"a": ' + b"9" * 5000 + b"}", None, "beyond the usual range"),
        (b"#" * (5 << 20), None, "at most 4 MiB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_that_is_refused(data, line, message):
    with pytest.raises(ConfigurationError) as raised:
        parse(data, "edr.toml")

    [fault] = raised.value.faults
    assert fault.line == line
    assert message in fault.message
