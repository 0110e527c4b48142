"""Connections that are opened as requests need them, up to a bound, and the requests that wait for one."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sizewise.loadgen.connection import Connection
from sizewise.loadgen.request import Target

AGAIN_S = 0.02
"""Pause after a connection that failed: a server that refuses is not asked ten thousand times a second."""
NO_ANSWER = "no answer in time"


class Account(Protocol):
    """Who is told what became of each request; ``due_s`` names the moment it should have left."""

    def submitted(self, due_s: float) -> None: ...

    def answered(self, status: int, *, due_s: float, sent_s: float, now_s: float) -> None: ...

    def failed(self, reason: str, due_s: float) -> None: ...


class Pool:
    """``after(due_s)`` is called when a request has ended, however it did."""

    def __init__(self, target: Target, tally: Account, *, connections: int, timeout_s: float) -> None:
        self._target, self._tally = target, tally
        self._most, self._timeout_s = connections, timeout_s
        self._next = target.source()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = 0
        self._waiting: deque[float] = deque()
        self._ended = asyncio.Event()
        self.after: Callable[[], None] = lambda: None
        self.outstanding = 0
        self.most_open = 0

    def submit(self, due_s: float) -> None:
        """Send now, or as soon as a connection is free."""
        self.outstanding += 1
        self._tally.submitted(due_s)
        if self._idle:
            # The one used last: its caches are warm, and those not needed stay unused
            self._idle.pop().send(self._next(), due_s)
            return
        self._waiting.append(due_s)
        self._open()

    def opened(self, connection: Connection) -> None:
        # Counted here: an answer may come before the task that opened it has its turn
        self._opening -= 1
        self._all.add(connection)
        self.most_open = max(self.most_open, len(self._all))
        self._free(connection)

    def answered(self, connection: Connection, status: int) -> None:
        now_s = time.monotonic()
        self._tally.answered(status, due_s=connection.due_s, sent_s=connection.sent_s, now_s=now_s)
        if connection.reusable:
            self._free(connection)
        else:
            connection.close()
        self._end()

    def lost(self, connection: Connection, reason: str) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.busy:
            self._tally.failed(reason, connection.due_s)
            self._end()
        if self._waiting:
            self._open()

    def sweep(self) -> None:
        """Give up what has taken too long."""
        late_s = time.monotonic() - self._timeout_s
        for connection in [each for each in self._all if each.busy and each.sent_s < late_s]:
            connection.abort(NO_ANSWER)
        while self._waiting and self._waiting[0] < late_s:
            self._tally.failed("no free connection in time", self._waiting.popleft())
            self._end()

    async def finish(self) -> None:
        """Returns when nothing is outstanding; call ``sweep`` meanwhile."""
        if self.outstanding:
            self._ended.clear()
            await self._ended.wait()

    async def close(self) -> None:
        for connection in list(self._all):
            connection.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell their protocols that they are closed in the next turn

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(self._next(), self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _open(self) -> None:
        if len(self._waiting) > self._opening and len(self._all) + self._opening < self._most:
            self._opening += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        target, loop = self._target, asyncio.get_running_loop()
        name = target.host if target.tls is not None else None
        try:
            async with asyncio.timeout(self._timeout_s):
                await loop.create_connection(
                    lambda: Connection(self), target.host, target.port, ssl=target.tls, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            await asyncio.sleep(AGAIN_S)
            self._opening -= 1
            self._refused("no connection" if isinstance(error, TimeoutError) else _why(error))

    def _refused(self, reason: str) -> None:
        if self._waiting:
            self._tally.failed(reason, self._waiting.popleft())
            self._end()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._open)

    def _end(self) -> None:
        self.outstanding -= 1
        self.after()
        if not self.outstanding:
            self._ended.set()


def _why(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
