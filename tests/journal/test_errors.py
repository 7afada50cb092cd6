import pickle

from contracts.journal import event

from edr.journal import EventsRefusedError, JournalError, Refusal


def test_refused_error_names_events_and_reasons():
    given = event(1)
    error = EventsRefusedError([Refusal(given, "too large")])

    assert isinstance(error, JournalError)
    assert error.refusals == (Refusal(given, "too large"),)
    assert str(error) == (
        f"1 event was refused permanently and not stored (event {given.id} of app: too large)"
    )


def test_refused_error_keeps_few_and_counts_all():
    error = EventsRefusedError([Refusal(event(n), "no") for n in range(40)], count=1000)

    assert len(error.refusals) == 32
    assert error.count == 1000
    assert str(error).startswith("1000 events were refused permanently")
    assert str(error).endswith("and 997 more)")


def test_refused_error_survives_pickling():
    error = EventsRefusedError([Refusal(event(1), "no")], count=5)
    again = pickle.loads(pickle.dumps(error))

    assert (again.count, again.refusals, str(again)) == (5, error.refusals, str(error))


def test_refused_error_keeps_as_many_as_its_limit_also_pickled():
    error = EventsRefusedError([Refusal(event(n), "no") for n in range(40)], limit=40)
    again = pickle.loads(pickle.dumps(error))

    assert len(error.refusals) == len(again.refusals) == 40
