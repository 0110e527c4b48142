"""A process that somebody keeps alive: how it is let go."""

import asyncio

from sizewise.backends.local.processes import Process
from sizewise.protocols.control import ControlClient


async def let_go(
    keeping: "asyncio.Task[None] | None", client: ControlClient | None, process: Process | None, *, grace_s: float
) -> None:
    """Stop starting it again, hang up, and end it; returns when it has ended."""
    if keeping is not None:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    if client is not None:
        client.close()
    if process is not None:
        await process.end(grace_s=grace_s)
