"""The counts of a part over all of its links."""

from support.sinks import RecordedAlerts

from edr.sinks.link_counts import ADDED, LinkCounts


def status(count, pending=0, **lost):
    return {**dict.fromkeys(ADDED, count), "pending": pending, "lost": lost, "backlog": 3}


def test_counts_of_earlier_links_are_added():
    counts = LinkCounts(RecordedAlerts())
    counts.keep(status(5, refused=1), is_durable=False)

    total = counts.total(status(2, refused=1, closed=4))

    assert (total["delivered"], total["received"], total["backlog"]) == (7, 7, 3)
    assert total["lost"] == {"refused": 2, "closed": 4}


def test_pending_events_of_a_journal_are_offered_once():
    offered = []
    for is_durable in (True, False):
        counts = LinkCounts(RecordedAlerts())
        counts.keep(status(5, pending=2), is_durable=is_durable)
        offered.append(counts.total(status(0))["offered"])

    assert offered == [3, 5]


def test_each_loss_is_reported_once():
    alerts = RecordedAlerts()
    counts = LinkCounts(alerts)
    for lost in (1, 1, 3):
        counts.report(status(0, refused=lost))
    counts.keep(status(0, refused=3), is_durable=True)
    counts.report(status(0))
    counts.report(status(0, closed=2))

    assert alerts.losses == [("refused", 1), ("refused", 2), ("closed", 2)]
