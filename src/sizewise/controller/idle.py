"""Full profiles, taken when nobody asks for anything: beside traffic a measurement disturbs, and is disturbed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from sizewise.controller.records import ModelRecord
from sizewise.core.profiles import ModelProfile
from sizewise.protocols.errors import SizewiseError

log = logging.getLogger(__name__)

QUIET_S = 10.0
"""Without any request for this long the system counts as idle."""

Measure = Callable[[ModelRecord], Awaitable[ModelProfile]]
"""Cancelling it ends whatever it started."""
Done = Callable[[str, ModelProfile], None]
"""Called with the artifact's hash."""


class IdleProfiler:
    """One measurement at a time. ``look`` at every tick; ``request`` puts a model first, measured or not."""

    def __init__(self, measure: Measure, done: Done) -> None:
        self._measure = measure
        self._done = done
        self._requested: list[str] = []
        self._tried: set[str] = set()
        """Hashes whose measurement failed: it would fail again."""
        self._task: asyncio.Task[None] | None = None

    def request(self, model: str) -> None:
        if model not in self._requested:
            self._requested.append(model)

    async def look(
        self, *, idle: bool, unmeasured: Iterable[ModelRecord], known: Callable[[str], ModelRecord | None]
    ) -> None:
        """Begin when idle, end when not: traffic does not wait for a measurement."""
        if not idle:
            await self.close()
            return
        if self._task is not None and not self._task.done():
            return
        record, asked = self._next(unmeasured, known)
        if record is not None:
            self._task = asyncio.ensure_future(self._run(record, asked=asked))

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _next(
        self, unmeasured: Iterable[ModelRecord], known: Callable[[str], ModelRecord | None]
    ) -> tuple[ModelRecord | None, bool]:
        for name in self._requested:
            if (record := known(name)) is not None:
                return record, True
        return next((r for r in unmeasured if r.serving.hash not in self._tried), None), False

    async def _run(self, record: ModelRecord, *, asked: bool) -> None:
        log.info("profiling %s", record.name)
        try:
            profile = await self._measure(record)
        except SizewiseError as error:
            log.warning("profiling %s failed, its estimate stays: %s", record.name, error)
            self._tried.add(record.serving.hash)
        else:
            self._done(record.serving.hash, profile)
        # Not reached when cancelled: what traffic interrupted is taken up again.
        if asked and record.name in self._requested:
            self._requested.remove(record.name)
