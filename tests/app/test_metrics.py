"""The metrics of the application."""

from types import SimpleNamespace

from edr.app.metrics import MEASURES, ApplicationCollector


class Runner:
    def __init__(self, kind, name, **status):
        self.kind, self.name, self._status = kind, name, status

    def status(self):
        return self._status


def values(*runners, reload_ok=True):
    application = SimpleNamespace(runners=runners, reload_ok=reload_ok)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in ApplicationCollector(application).collect()
        for sample in metric.samples
    }


def test_losses_and_dead_letters_are_counted_apart():
    lost = {"retention": 3, "rejected": 2, "expired": 1}
    found = values(Runner("sink", "a", state="running", lost=lost, delivered=5, backlog=7))

    assert found["edr_sink_missed_total", "a"] == 3
    assert found["edr_sink_rejected_total", "a"] == 3
    assert found["edr_sink_delivered_total", "a"] == 5
    assert found["edr_sink_backlog", "a"] == 7


def test_one_state_is_1_and_the_others_0():
    found = values(Runner("sink", "a", state="failed", error="x"))

    states = {key[2]: value for key, value in found.items() if key[0] == "edr_sink_state"}
    assert [state for state, value in states.items() if value] == ["failed"]
    assert len(states) > 5


def test_a_failed_reload_is_measured():
    assert values(reload_ok=False) == {("edr_reload_ok",): 0.0}


def test_each_measure_is_described():
    names = {metric.name for metric in ApplicationCollector(None).describe()}

    assert names == {each.name for each in MEASURES}
