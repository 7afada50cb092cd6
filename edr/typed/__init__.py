"""Events whose bodies are pydantic models.

Example::

    import asyncio
    from typing import Literal
    import edr.typed

    class AgentPaused(edr.typed.Body, app="acdc", severity="ok", verbosity="info"):
        status: Literal["paused"] = "paused"
        agent_id: str

    async def main():
        async with edr.typed.subscribe(AgentPaused) as paused:
            await AgentPaused(agent_id="a1").emit(account_id="b")
            await edr.emit("acdc", "1", "ok", "info", {"status": "wrapup"})   # another kind
            event, body = await anext(paused)
            assert (event.account_id, body.agent_id) == ("b", "a1")
            assert paused.statistics().offered == 1

    asyncio.run(main())

On the bus they are ordinary events. ``edr.subscribe`` receives them without a model. A callback
binds with ``@edr.on(AgentPaused.binding())`` and reads with ``AgentPaused.of(event)``.

Promises:

* A model is its binding: app, both levels, and its ``Literal`` fields, which the bus indexes. The
  binding of a model matches every event that the model emits.
* A body of the kind that does not fit the model is counted and given to ``on_error``. It never ends
  the iteration.

Read the modules in this order; each imports only from those before it:
literals, body, subscription.
"""

from edr.typed.body import Body, Kind
from edr.typed.subscription import TypedSubscription, subscribe

__all__ = ["Body", "Kind", "TypedSubscription", "subscribe"]
