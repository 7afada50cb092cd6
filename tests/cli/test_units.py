import pytest

from edr.cli.units import counted, duration, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.002, "2 ms"),
        (0.4, "0.4 s"),
        (9.94, "9.9 s"),
        (41.2, "41 s"),
        (59.7, "1m 00s"),
        (303, "5m 03s"),
        (3599.6, "1h 00m"),
        (12_000, "3h 20m"),
        (3 * 86_400 + 4 * 3_600 + 59, "3d 4h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 KiB"),
        (1_536, "1.5 KiB"),
        (412 * 2**20, "412 MiB"),
        (5 * 2**40, "5.0 TiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_size(number, text):
    assert size(number) == text


def test_counted_has_a_plural():
    assert [counted(n, "event") for n in (0, 1, 1_234)] == ["0 events", "1 event", "1,234 events"]
