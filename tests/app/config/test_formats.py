import pytest

from edr.app.config import CloudEventsFormat, JsonFormat, KazooFormat, TextFormat, read


def format_of(text):
    data = f'sinks.a = {{ type = "http", url = "http://a", format = {text} }}'
    return read(data.encode()).configuration.sinks["a"].format


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"text"', TextFormat()),
        ('{ type = "text" }', TextFormat()),
        ('"json"', JsonFormat()),
        ('{ type = "kazoo", normalize = false }', KazooFormat(normalize=False)),
        ('{ type = "cloudevents", mode = "binary" }', CloudEventsFormat(mode="binary")),
    ],
)
def test_a_format_is_a_name_or_a_table(text, found):
    assert format_of(text) == found
