"""Memory of messages that arrive: gRPC itself bounds one message, and nobody all of them together."""

import asyncio
import contextlib
from collections.abc import Iterator

from sizewise.core.units import MIB
from sizewise.system.memory import give_back_memory, rss_anon_bytes

LOOK_S = 0.25
LOOKS_PER_GIVE_BACK = 20
"""It may not help, and takes milliseconds."""
GIVE_BACK_BYTES = 32 * MIB


class Holding:
    """``full``: no message is begun. Those that are arriving then are given up."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._settled_bytes = rss_anon_bytes()
        self._reading: set[asyncio.Task[object]] = set()
        self._looks = 0
        self.full = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._reading.add(task)
        try:
            yield
        finally:
            self._reading.discard(task)

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        grown_bytes = rss_anon_bytes() - self._settled_bytes
        self._looks += 1
        if self._looks % LOOKS_PER_GIVE_BACK == 0 and not self._reading and grown_bytes > GIVE_BACK_BYTES:
            give_back_memory()
            grown_bytes = rss_anon_bytes() - self._settled_bytes
        self.full = grown_bytes > self._limit_bytes
        if self.full:
            for task in tuple(self._reading):
                task.cancel()
