"""The call centre with a live page: what an operator sees, a reseller, and a customer.

    python examples/dashboard.py

It runs the services and the consumers of ``call_center.py``, and serves their events to browsers.
Open the printed URL, and enter one of the printed tokens. A token is a grant:

* The operator sees every event, and the subscriptions: the slow one, ``archive``, loses events.
* The reseller sees its customers and their branches.
* The customer sees its own branches, and does not learn of the reseller.

The page is at the URL, SSE at ``/events`` and WebSocket at ``/ws``. ``curl`` works too; the program
prints the command. Ctrl-C ends it. It needs the extra ``web``: ``pip install '.[web]'``.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from _display import quiet_end
from call_center import BRANCHES, CUSTOMERS, Ledger, keep_open, start_consumers

import edr

try:
    from edr.web import Gateway, Grant, Peer, Server
except ImportError as missing:
    sys.exit(f"the page needs the extra web: pip install '.[web]' ({missing})")

GRANTS = {
    "operator": Grant.everything(),
    "reseller northstar": Grant("northstar"),
    "customer acme": Grant("acme"),
}


def print_tokens(url: str, tokens: dict[str, str]) -> None:
    """Print where the page is, and the token of each grant."""
    print(f"Open {url}/ and enter a token:", flush=True)
    for name, token in tokens.items():
        print(f"  {name:<18} {token}", flush=True)
    header = f"Authorization: Bearer {next(iter(tokens.values()))}"
    print(f'curl -N -H "{header}" "{url}/events?severity=warning"', flush=True)


async def main(seconds: float, seed: int, port: int) -> None:
    """Run the call centre, and serve its events."""
    tokens = {name: secrets.token_urlsafe(16) for name in GRANTS}
    grants = {token: GRANTS[name] for name, token in tokens.items()}

    def authenticate(token: str | None, _: Peer) -> Grant | None:
        return grants.get(token or "")

    ledger: Ledger = []
    async with edr.Bus(accounts=edr.AccountTree(CUSTOMERS | BRANCHES)) as bus:
        gateway = Gateway(bus, authenticate=authenticate)
        async with (
            Server(gateway, f"127.0.0.1:{port}") as server,
            asyncio.TaskGroup() as consumers,
        ):
            start_consumers(bus, consumers, ledger)
            print_tokens(server.url, tokens)
            await keep_open(bus, seconds, seed, lambda: None)
            # The gateway sends its last events and stops; the slow consumer gets no more time.
            await bus.drain(timeout=0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="how long it is open (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="which calls come in (%(default)s)")
    parser.add_argument("--port", type=int, default=8490, help="of the page (%(default)s)")
    options = parser.parse_args()
    with quiet_end():
        asyncio.run(main(options.seconds, options.seed, options.port))
