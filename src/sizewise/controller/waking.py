"""Models that are asked for between two steps are woken at once, where the last step left room for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from sizewise.controller.records import ModelRecord
from sizewise.controller.registry import Registry
from sizewise.core.fleet import ModelView
from sizewise.core.waking import Settled, Woken, wake
from sizewise.protocols.clock import Clock
from sizewise.protocols.errors import SizewiseError

log = logging.getLogger(__name__)


class Waker:
    """``start`` does what was decided, and remembers it; ``poke`` asks for a step, which sees to everything else."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        *,
        stepping: asyncio.Lock,
        start: Callable[[Woken, Mapping[str, ModelRecord]], Awaitable[None]],
        poke: Callable[[], None],
    ) -> None:
        self.settled: Settled | None = None
        """What the last step left."""
        self._registry = registry
        self._clock = clock
        self._stepping = stepping
        self._start = start
        self._poke = poke
        self._asked: set[str] = set()
        self._waking: asyncio.Task[None] | None = None

    def ask(self, name: str) -> None:
        """Somebody waits for this model. All that come while one step or start is under way are seen to together."""
        self._asked.add(name)
        if self._waking is None or self._waking.done():
            self._waking = asyncio.ensure_future(self.wake())

    def close(self) -> None:
        if self._waking is not None:
            self._waking.cancel()

    async def wake(self) -> None:
        while self._asked:
            async with self._stepping:
                asked, self._asked = self._asked, set()
                try:
                    asked -= await self._wake(asked)
                except SizewiseError as error:
                    log.warning("nobody was woken: %s", error)
            if asked:
                self._poke()

    async def _wake(self, asked: set[str]) -> set[str]:
        """Those that start."""
        if self.settled is None:
            return set()
        woken = wake(self.settled, self._as_seen(asked, self.settled.asleep), self._clock.now_s())
        records = {decided.name: self._registry.get(decided.name) for decided in woken.decision.models}
        if records:
            await self._start(woken, records)
        return set(records)

    def _as_seen(self, names: set[str], asleep: Mapping[str, ModelView]) -> list[str]:
        """Those that nobody has changed since the last step."""
        found = [(record, asleep[name]) for name in names & asleep.keys() if (record := self._registry.find(name))]
        return [record.name for record, model in found if _as_seen(record, model)]


def _as_seen(record: ModelRecord, model: ModelView) -> bool:
    known = (model.version, model.policy, model.isolation, model.pinned, model.alone, model.candidate)
    wants, serving = record.wants, record.serving.version
    return known == (serving, wants.scaling, wants.isolation, record.pinned, record.alone, record.candidate)
