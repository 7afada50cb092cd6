"""Answers to ``top``, as a process sends them."""


def subscription(number=1, **fields):
    return {
        "number": number,
        "name": f"sub{number}",
        "kind": "subscription",
        "bindings": [{"app_name": "acdc"}],
        "capacity": 256,
        "overflow": "block",
        "offered": 0,
        "delivered": 0,
        "dropped": {},
        "pending": 0,
        "stalled": False,
        "oldest_age": 0.0,
        "failed": 0,
        "in_flight": 0,
        "last_error": None,
        **fields,
    }


def part(name="alarms", **fields):
    return {"kind": "sink", "name": name, "bindings": [{"severity": "critical"}], **fields}


def consumer(name="mailer", **fields):
    return {"name": name, "lag": 0, "unacked": 0, "missed": 0, "open": True, **fields}


def message(*subscriptions, parts=(), consumers=None, uptime=10.0, emits=0, **fields):
    journal = None
    if consumers is not None:
        journal = {"bytes": 2048, "waiting": 0, "error": None, "consumers": list(consumers)}
    return {
        "is": "top",
        "uptime": uptime,
        "loop_lag": 0.002,
        "bus": {"emits": emits, "dropped": {}},
        "subscriptions": list(subscriptions),
        "omitted": 0,
        "parts": list(parts),
        "parts_omitted": 0,
        "journal": journal,
        **fields,
    }
