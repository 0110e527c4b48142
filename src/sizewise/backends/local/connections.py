"""Connections to the keeper and the gateway that come back by themselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from sizewise.protocols.control import ControlClient, Message
from sizewise.protocols.errors import UnavailableError

RECONNECT_S = 0.2

Connect = Callable[[], Coroutine[Any, Any, ControlClient]]


class Reconnecting:
    """One connection, made when first needed and again after it broke."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting: asyncio.Future[ControlClient] | None = None

    async def client(self, *, timeout_s: float | None = None) -> ControlClient:
        """Raises UnavailableError when nobody answers, or not within ``timeout_s``; connecting then goes on."""
        pending = self._connecting
        if pending is None or _is_useless(pending):
            pending = self._connecting = asyncio.ensure_future(self._connect())
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(pending)
        except TimeoutError as error:
            raise UnavailableError(f"no connection within {timeout_s:g} s yet") from error

    async def call(self, message: Message, *, timeout_s: float) -> Message:
        """Raises UnavailableError."""
        client = await self.client(timeout_s=timeout_s)
        return await client.request(message, timeout_s=timeout_s)

    async def events(self) -> AsyncIterator[Message]:
        """Events for ever, over a connection of their own; those sent while it was broken are lost."""
        while True:
            with contextlib.suppress(UnavailableError):
                client = await self._connect()
                try:
                    async for event in client.events():
                        yield event
                finally:
                    client.close()
            await asyncio.sleep(RECONNECT_S)

    def close(self) -> None:
        pending, self._connecting = self._connecting, None
        if pending is None:
            return
        if not pending.done():
            pending.cancel()
        elif not pending.cancelled() and pending.exception() is None:
            pending.result().close()


def _is_useless(pending: "asyncio.Future[ControlClient]") -> bool:
    """Whether it failed, or led to a connection that has ended."""
    return pending.done() and (
        pending.cancelled() or pending.exception() is not None or pending.result().closed.is_set()
    )
