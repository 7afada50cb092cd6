"""A program that exposes a bus and emits events at a rate.

Run it as ``python exposed_program.py NAME RATE``. It prints its process id when it is ready.
"""

import asyncio
import os
import sys

import edr
import edr.control


async def main(name, rate):
    async with (
        edr.Bus(node="apps1:4123") as bus,
        edr.control.expose(bus, name=name, history=1000, allow={"emit"}),
    ):
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        for n in range(10**9):
            severity = ("ok", "warning", "critical")[n % 3]
            body = {"event": "agent_status_change", "queue": {"id": f"q{n % 10}"}, "n": n}
            await bus.emit("acdc", "5.1", severity, "info", body, account_id="branch_07")
            # A timer has about a millisecond, so faster rates are bursts.
            if n % max(1, rate // 100) == 0:
                await asyncio.sleep(max(1, rate // 100) / rate)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
