import pytest
from support.top_messages import consumer, message, part, subscription

from edr.cli.cells import width_of
from edr.cli.top_rows import Samples
from edr.cli.top_view import ASCII_BARS, Symbols, view


def two(*subscriptions, **fields):
    """Two samples, one second apart, of 100 emits."""
    samples = Samples()
    samples.add(message(*subscriptions, uptime=100.0, **fields))
    later = [{**each, "offered": each["offered"] + 3} for each in subscriptions]
    samples.add(message(*later, uptime=101.0, emits=100, **fields))
    return samples


def screen(samples, width=120, height=None, **options):
    lines = view(samples, title="edr@apps1:977", by="in", width=width, height=height, **options)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


TROUBLED = (
    subscription(1, name="wallboard", pending=256, oldest_age=9.0, dropped={"overflow": 1902}),
    subscription(2, name="billing", delivered=77000),
)
ALARMS = part(
    offered=0, backlog=1902, oldest_age=41.0, delivered=88120, error="503", lost={"dead": 2}
)


def test_screen_of_120_columns():
    lines = screen(two(*TROUBLED, parts=[ALARMS], consumers=[consumer(lag=3)]))

    assert lines == [
        "edr@apps1:977   up 1m 41s   ■ 1 fault   100 emits/s █   loop lag 2 ms   journal 2.0 KiB",
        " PART             BINDING   IN/S  BACKLOG  OLDEST  DELIVERED  LOST            STATE",
        "■sink alarms      critical     0    1,902    41 s     88,120  2 dead          503",
        "▲sub wallboard    acdc       3.0  256/256   9.0 s          0  1,902 overflow  block",
        " consumer mailer                        3                                     open",
        " sub billing      acdc       3.0        0             77,000                  block",
    ]


def test_narrow_screen_leaves_out_the_bindings_first():
    lines = screen(two(*TROUBLED, parts=[ALARMS]), width=70)

    assert "BINDING" not in lines[1]
    assert all(name in lines[1] for name in ("PART", "IN/S", "BACKLOG", "LOST", "STATE"))
    assert lines[2].startswith("■sink alarms")
    assert lines[2].endswith("503")


def test_full_queue_of_the_usual_capacity_is_not_cut_on_80_columns():
    counts = {"pending": 1024, "capacity": 1024, "oldest_age": 503, "dropped": {"stalled": 22_664}}
    charger = subscription(1, name="charger", kind="callback", stalled=True, **counts)
    lines = screen(two(charger, subscription(2, overflow="drop_oldest")), width=80)

    row = next(line for line in lines if "charger" in line)
    assert "1,024/1,024" in row
    assert row.endswith("stalled")


def test_narrow_screen_keeps_the_parts_and_their_backlogs():
    lines = screen(two(*TROUBLED), width=30)

    header = next(line for line in lines if "PART" in line)
    assert "BACKLOG" in header
    assert all(width_of(line) <= 30 for line in lines)


@pytest.mark.parametrize("width", [10, 20, 30, 47, 80, 99, 120, 200])
@pytest.mark.parametrize("height", [1, 5, 24, None])
def test_no_line_is_wider_than_the_screen(width, height):
    samples = two(*TROUBLED, subscription(3, name="名前" * 20), parts=[part(error="x" * 300)])
    lines = screen(samples, width=width, height=height, keys=True)

    assert all(width_of(line) <= width for line in lines)


def test_rows_that_do_not_fit_are_counted():
    many = [subscription(n, name=f"client {n:03}") for n in range(100)]
    lines = screen(two(*many, omitted=4744), height=24, keys=True)

    assert len(lines) == 24
    shown = sum(" sub " in line for line in lines)
    assert lines[-2] == f" … {100 - shown + 4744:,} more"
    assert lines[-1].startswith("q quit   sort by in")


def test_rows_that_fit_have_no_rest():
    lines = screen(two(*TROUBLED), height=24)

    assert not any(line.endswith("more") for line in lines)


def test_first_sample_has_no_rate():
    samples = Samples()
    samples.add(message(subscription(), emits=100))

    assert "… emits/s" in screen(samples)[0]


def test_bus_without_subscriptions_is_not_an_empty_screen():
    assert screen(two())[2] == "no subscriptions or parts"


def test_bars_show_the_last_rates():
    samples = Samples()
    emits = 0
    for second, rate in enumerate([0, 0, 50, 100, 25]):
        emits += rate
        samples.add(message(uptime=float(second), emits=emits))

    assert " 25 emits/s ▁▅█▃ " in f"{screen(samples)[0]} "


def test_terminal_without_unicode_gets_ascii():
    symbols = Symbols("#", "!", "~", ASCII_BARS)
    lines = screen(two(*TROUBLED, parts=[ALARMS]), symbols=symbols, height=4)

    assert "".join(lines).isascii()
    assert lines[2].startswith("#sink")


def test_names_cannot_control_the_terminal():
    lines = screen(two(subscription(name="\x1b[2J\n")))

    assert not any("\x1b" in line or "\n" in line for line in lines)


def test_journal_that_cannot_store_is_marked():
    samples = two(journal={"bytes": 1, "error": "disk full", "waiting": 70, "consumers": []})
    (segment,) = [
        segment
        for segment in view(samples, title="", by="in", width=200, height=None)[0]
        if "journal" in segment[0]
    ]

    assert segment == ("journal 1 B, 70 waiting: disk full", "critical")
