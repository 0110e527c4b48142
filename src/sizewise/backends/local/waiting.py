"""Waiting for one of several things, and for a socket that is about to appear."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from sizewise.protocols.errors import UnavailableError

T = TypeVar("T")

FIRST_POLL_S = 0.001
SLOWEST_POLL_S = 0.02


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when one of them is done; the others are cancelled. Raises what the first one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def until_connected(
    connect: Callable[[], Awaitable[T]], *, gone: asyncio.Event, timeout_s: float, what: str
) -> T:
    """Try ``connect`` until it does not raise UnavailableError.

    Raises UnavailableError when ``gone`` is set (the process behind it has ended) or the time is over.
    """
    loop = asyncio.get_running_loop()
    deadline_s, pause_s = loop.time() + timeout_s, FIRST_POLL_S
    while True:
        try:
            return await connect()
        except UnavailableError as error:
            if gone.is_set():
                raise UnavailableError(f"{what} ended before it listened: its log says why") from error
            if loop.time() > deadline_s:
                raise UnavailableError(f"{what} does not listen after {timeout_s:g} s: its log says why") from error
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)
