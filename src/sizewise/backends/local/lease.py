"""How long the data plane goes on after everybody who wanted it has gone."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from sizewise.backends.local.processes import Process

DEFAULT_GRACE_S = 600.0


class Lease:
    """Ends when both the controller and its terminal have been gone for ``grace_s``; the latest one given counts."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._watched: list[Process] = []

    def give(self, controller_pid: int | None, terms: dict[str, Any] | None) -> None:
        """``terms`` as in ``hello``; None: no lease, go on for ever."""
        self.clear()
        if terms is None:
            return
        for pid in (controller_pid, terms.get("terminal_pid")):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._watched.append(Process(int(pid)))
        self._task = asyncio.ensure_future(self._wait(float(terms.get("grace_s", DEFAULT_GRACE_S))))

    def clear(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for process in self._watched:
            process.forget()
        self._watched.clear()

    async def _wait(self, grace_s: float) -> None:
        for process in tuple(self._watched):
            await process.exited.wait()
        await asyncio.sleep(grace_s)
        self._task = None
        self._ended()
