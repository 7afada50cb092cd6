"""A simulated call centre: services emit events, and consumers receive them.

    python examples/call_center.py --seconds 5

Calls arrive, a queue manager connects them to agents, and some callers hang up. Each service emits
events and does not depend on the consumers. Each consumer subscribes with bindings. One consumer is
too slow on purpose. Its overflow policy drops events, so it does not delay the services. A second
of the program is a minute in the call centre.

The program first prints the bindings and the overflow policy of each consumer. After the given
time, or at Ctrl-C, it prints how many events each consumer was offered, received and lost, and why
one of them lost events. The exit code is 1 if the counts do not add up.

While it runs with ``--seconds inf``, observe it from another shell, with the extra ``edr[cli]``:
``edr top call-center``, ``edr tail call-center -s warning``, ``edr status call-center``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, TypeAlias

from _display import Row, Screen, can_be_rich, print_table, print_text, quiet_end

import edr
from edr import Binding, Bus, Emitter, Event, Handle, Overflow, Subscription

# A reseller has customers, customers have branches, and agents work in branches.
CUSTOMERS = {"acme": "northstar", "globex": "northstar"}
BRANCHES = {"acme-berlin": "acme", "acme-lyon": "acme", "globex-oslo": "globex"}
AGENTS = {"acme-berlin": "ana bo cem", "acme-lyon": "dora emil", "globex-oslo": "finn grete"}
CALLERS = ["Ida Nilsen", "José Álvarez", "Łukasz Nowak", "Mei Chen", "Olu Ade", "Zoë Brandt"]
MAX_WAITING = 6  # callers in a queue; the next one is turned away


@dataclass(eq=False)
class Call:
    """A caller, from the first ring to the end."""

    call_id: str
    name: str
    number: str
    began: float = field(default_factory=monotonic)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: bool = False


class Branch:
    """One office: its queue of callers, its agents, and the services that work for it."""

    def __init__(self, bus: Bus, account_id: str, seed: int) -> None:
        self.queue_id = f"{account_id}-support"
        self.random = Random(f"{account_id}:{seed}")
        self.waiting: asyncio.Queue[Call] = asyncio.Queue()
        self.ready: asyncio.Queue[tuple[str, asyncio.Future[Call]]] = asyncio.Queue()
        self.call_flow = Emitter("call_flow", "5.1", account_id, bus=bus)
        self.queue_manager = Emitter("queue_manager", "2.0", account_id, bus=bus)
        self.agents = Emitter("agents", "3.4", account_id, bus=bus)

    def call_is(self, status: str, call: Call, **more: str) -> dict[str, str]:
        """Return the body of a change of ``call``."""
        body = {"event": "call_status_change", "status": status, "call_id": call.call_id}
        return body | {"queue_id": self.queue_id} | more

    def agent_is(self, status: str, agent_id: str, call: Call | None = None, **more: int) -> Any:
        """Return the body of a change of an agent, who may be in a call."""
        body = {"event": "agent_status_change", "agent_id": agent_id, "status": status}
        if call is not None:
            body |= {"call_id": call.call_id, "queue_id": self.queue_id}
            body |= {"caller_id_name": call.name, "caller_id_number": call.number}
        return body | more


async def take_calls(branch: Branch) -> None:
    """Call flow: accept incoming calls, about six a minute."""
    random = branch.random
    async with asyncio.TaskGroup() as calls:
        while True:
            await asyncio.sleep(random.expovariate(6))
            number = f"+47{random.randrange(10**8):08}"
            call = Call(f"{random.getrandbits(32):08x}", random.choice(CALLERS), number)
            calls.create_task(lead(branch, call))


async def lead(branch: Branch, call: Call) -> None:
    """Call flow: lead one call through the queue to its end."""
    emit = branch.call_flow.emit
    if branch.waiting.qsize() >= MAX_WAITING:
        body = branch.call_is("abandoned", call, abandon_reason="queue_full")
        await emit("critical", "error", body)
        return
    await emit("ok", "info", branch.call_is("waiting", call))
    branch.waiting.put_nowait(call)
    with suppress(TimeoutError):
        async with asyncio.timeout(branch.random.uniform(0.4, 2)):
            await call.answered.wait()
    if not call.answered.is_set():
        call.abandoned = True
        body = branch.call_is("abandoned", call, abandon_reason="member_hangup")
        await emit("warning", "error", body)
        return
    await call.ended.wait()
    who = branch.random.choice(["agent", "member"])
    await emit("ok", "info", branch.call_is("processed", call, hung_up_by=who))


async def manage_queue(branch: Branch) -> None:
    """Queue manager: connect the oldest call to the agent who has been ready longest."""
    while True:
        call = await branch.waiting.get()
        agent_id, offer = await branch.ready.get()
        if call.abandoned:
            branch.ready.put_nowait((agent_id, offer))
        else:
            offer.set_result(call)


async def ring(branch: Branch, call: Call, agent_id: str) -> bool:
    """Queue manager: ring an agent, and return whether the agent answered."""
    emit = branch.queue_manager.emit
    await asyncio.sleep(0.05)
    if call.abandoned:
        return False
    if branch.random.random() < 0.15:
        missed = branch.call_is("missed", call, agent_id=agent_id, miss_reason="no_answer")
        await emit("warning", "warn", missed)
        branch.waiting.put_nowait(call)
        return False
    call.answered.set()
    await emit("ok", "info", branch.call_is("handled", call, agent_id=agent_id))
    return True


async def work(branch: Branch, agent_id: str) -> None:
    """Agent: work from log-in to log-out."""
    emit, emit_nowait, random = branch.agents.emit, branch.agents.emit_nowait, branch.random
    desk = {"agent_id": agent_id, "queue_id": branch.queue_id}
    await emit("ok", "info", branch.agent_is("logged_in", agent_id))
    await emit("ok", "info", {"event": "logged_into_queue", **desk})
    try:
        while True:
            await emit("ok", "info", branch.agent_is("ready", agent_id))
            offer = asyncio.Future[Call]()
            branch.ready.put_nowait((agent_id, offer))
            call = await offer
            await emit("ok", "debug", branch.agent_is("connecting", agent_id, call))
            if not await ring(branch, call, agent_id):
                continue
            waited = round(60 * (monotonic() - call.began))
            body = branch.agent_is("connected", agent_id, call, wait_time=waited)
            await emit("ok", "info", body)
            await asyncio.sleep(random.uniform(0.1, 0.6))
            call.ended.set()
            await emit("ok", "debug", branch.agent_is("wrapup", agent_id, call))
            await asyncio.sleep(0.1)
            if random.random() < 0.2:
                pause = random.uniform(0.1, 0.5)
                body = branch.agent_is("paused", agent_id, pause_time=round(60 * pause))
                await emit("ok", "info", body)
                await asyncio.sleep(pause)
    finally:  # the task is cancelled here, so this must not wait
        emit_nowait("ok", "info", {"event": "logged_out_of_queue", **desk})
        emit_nowait("ok", "info", branch.agent_is("logged_out", agent_id))


# The consumers. Each counts its events, to check the counts of the bus.

Seen: TypeAlias = Counter[str]
Consumer: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
Ledger: TypeAlias = list[tuple[Subscription | Handle, Seen]]


async def show(events: Subscription, seen: Seen, screen: Screen) -> None:
    async for event in events:
        seen[event.app_name] += 1
        body, levels = event.body, f"{event.severity}/{event.verbosity}"
        known = (body.get(key, "") for key in ("status", "agent_id", "call_id", "abandon_reason"))
        what = " ".join(filter(None, (body["event"], *known)))
        screen.line(f"{event.timestamp:%H:%M:%S} {event.account_id:<11} {levels:<14} {what}")


async def count(events: Subscription, seen: Seen, key: str) -> None:
    async for event in events:
        seen[event.body.get(key, event.body["event"])] += 1


PAUSE = 0.25  # seconds that the archive takes for each event; there are dozens in a second
ROOM = 8


async def archive(events: Subscription, seen: Seen) -> None:
    async for event in events:
        seen[event.app_name] += 1
        await asyncio.sleep(PAUSE)


def page(event: Event, seen: Seen) -> None:
    """Count an event. This is a callback; ``seen`` is the payload that it was bound with."""
    seen[str(event.account_id)] += 1


def start_consumers(
    bus: Bus, group: asyncio.TaskGroup, ledger: Ledger, screen: Screen | None = None
) -> None:
    """Subscribe all consumers, and start them. Without a screen, no consumer shows the events."""

    def start(consumer: Consumer, events: Subscription, *args: object) -> None:
        ledger.append((events, Counter()))
        group.create_task(consumer(*ledger[-1], *args))

    # Everything from debug up. A screen shows the newest events, so the oldest may be dropped.
    everything, newest = Binding(verbosity="debug"), Overflow.DROP_OLDEST
    if screen is not None:
        start(show, bus.subscribe(everything, name="screen", overflow=newest), screen)
    # Two services, at exactly one level.
    calls = Binding(app_name=["call_flow", "queue_manager"], verbosity="info", exact_verbosity=True)
    start(count, bus.subscribe(calls, name="wallboard"), "status")
    # A customer with all its branches.
    acme = Binding(account_id="acme", include_descendants=True, app_name="agents")
    start(count, bus.subscribe(acme, name="acme staff"), "status")
    # A list of levels and a second binding. An event that matches both is received once.
    lost = Binding(app_name="call_flow", severity=["warning", "critical"])
    worst = Binding(severity="critical")
    start(count, bus.subscribe(lost, worst, name="lost calls"), "abandon_reason")
    # By the body: agents who end a long pause, or callers who waited long.
    long = [{"numeric": [">", 30]}]
    idle = Binding(app_name="agents", body={"$or": [{"wait_time": long}, {"pause_time": long}]})
    start(count, bus.subscribe(idle, name="long idle"), "agent_id")
    # The slow consumer, with a small queue.
    start(archive, bus.subscribe(everything, name="archive", capacity=ROOM, overflow=newest))
    # A callback for warnings and worse.
    pages: Seen = Counter()
    ledger.append((bus.bind(Binding(severity="warning"), page, pages, name="pager"), pages))


def print_wants(bus: Bus, *, rich: bool) -> None:
    """Print what each consumer is subscribed to, and what happens when its queue is full."""
    print_text("The bindings of each consumer; its overflow policy and capacity:", rich=rich)
    for info in bus.subscriptions():
        wants = " or ".join(each.model_dump_json(exclude_defaults=True) for each in info.bindings)
        print_text(f"  {info.name:<10} {wants}; {info.overflow} at {info.capacity}", rich=rich)


def print_losses(ledger: Ledger, *, rich: bool) -> None:
    """Print why events were lost."""
    for source, _ in ledger:
        now = source.statistics()
        if "overflow" in now.dropped:
            print_text(
                f"{now.name} lost {now.dropped['overflow']} of {now.offered}: it takes "
                f"{1 / PAUSE:g} events a second, has room for {ROOM}, and its policy lets the "
                "oldest go. No emitter waited for it.",
                rich=rich,
            )


COLUMNS = ("consumer", "offered", "delivered", "dropped", "pending", "sum")


def is_right(source: Subscription | Handle, seen: Seen) -> bool:
    """Return whether the counts of the bus and of the consumer account for each event."""
    now = source.statistics()
    accounted = now.delivered + sum(now.dropped.values()) + now.pending
    return now.offered == accounted and now.delivered == seen.total()


def rows(ledger: Ledger) -> list[Row]:
    """Return the lines of the table."""
    table: list[Row] = []
    for source, seen in ledger:
        now = source.statistics()
        dropped = ", ".join(f"{n} {reason}" for reason, n in now.dropped.items())
        verdict = "right" if is_right(source, seen) else f"WRONG, {seen.total()} taken"
        table.append((now.name, now.offered, now.delivered, dropped, now.pending, verdict))
    return table


async def keep_open(bus: Bus, seconds: float, seed: int, refresh: Callable[[], object]) -> None:
    """Run all services until the time is over, or until Ctrl-C; ``refresh`` draws the screen."""
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as services:
            for account_id, agents in AGENTS.items():
                branch = Branch(bus, account_id, seed)
                services.create_task(take_calls(branch))
                services.create_task(manage_queue(branch))
                for agent_id in agents.split():
                    services.create_task(work(branch, agent_id))
            while True:
                refresh()
                await asyncio.sleep(0.1)
    except (TimeoutError, asyncio.CancelledError):
        # At Ctrl-C asyncio.run cancels the main task, which must still wait for the consumers.
        if task := asyncio.current_task():
            task.uncancel()


async def main(seconds: float, seed: int, *, rich: bool) -> bool:
    """Run the call centre, and return whether all counts are right."""
    ledger: Ledger = []
    accounts = edr.AccountTree(CUSTOMERS | BRANCHES)
    try:
        async with Bus(accounts=accounts) as bus, asyncio.TaskGroup() as consumers:
            await edr.control.expose(bus, name="call-center", history=1000)
            screen = Screen(COLUMNS, lambda: rows(ledger), rich=rich)
            start_consumers(bus, consumers, ledger, screen)
            print_wants(bus, rich=rich)
            with screen:
                await keep_open(bus, seconds, seed, screen.refresh)
                # Consumers end after their queued events. Events that the slow one has not taken
                # after half a second are dropped and counted as closed.
                await bus.drain(timeout=0.5)
    finally:  # also at a second Ctrl-C
        print_table(COLUMNS, rows(ledger), rich=rich)
        for source, seen in ledger:
            most = ", ".join(f"{n} {what}" for what, n in seen.most_common(5))
            print_text(f"{source.name}: {most}", rich=rich)
        print_losses(ledger, rich=rich)
    return all(is_right(source, seen) for source, seen in ledger)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--seconds",
        type=float,
        default=5,
        help="how long it is open (%(default)s); inf: until Ctrl-C",
    )
    parser.add_argument("--seed", type=int, default=1, help="which calls come in (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="lines only, also on a terminal")
    options = parser.parse_args()
    rich = can_be_rich(sys.stdout) and not options.plain
    with quiet_end():
        sys.exit(0 if asyncio.run(main(options.seconds, options.seed, rich=rich)) else 1)
