"""Why does nothing arrive? ``Binding.explain`` returns the reasons.

python examples/explain.py
"""

from edr import Binding, Event

WAITING_LONG = Binding(
    app_name="agents",
    severity="warning",
    account_id="acme",
    include_descendants=True,
    body={
        "status": ["paused", {"prefix": "wrap"}],
        "wait_time": [{"numeric": [">", 30]}],
        "calls": {"id": [{"exists": True}], "state": ["held"]},
    },
)

EVENT = Event(
    app_name="agents",
    app_version="2.4",
    severity="ok",
    verbosity="info",
    account_id="globex_berlin",
    account_tree=["reseller", "globex"],
    body={
        "status": "wrapup",
        "wait_time": 12,
        "calls": [{"id": "c1", "state": "talking"}, {"state": "held"}],
    },
)


def main() -> None:
    """Print every reason why the event does not match."""
    print("matches:", WAITING_LONG.matches(EVENT))
    for mismatch in WAITING_LONG.explain(EVENT):
        print(" ", mismatch)


if __name__ == "__main__":
    main()
