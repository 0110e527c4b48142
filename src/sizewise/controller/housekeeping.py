"""What a tick does when everything urgent is done: collecting garbage, and profiling while nobody asks for anything."""

import asyncio
from collections.abc import MutableMapping

from sizewise.controller.charges import overhead_bytes
from sizewise.controller.deploy import Weigher
from sizewise.controller.idle import QUIET_S, IdleProfiler
from sizewise.controller.ledger import Ledger
from sizewise.controller.records import ModelRecord
from sizewise.controller.registry import Registry
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import ModelProfile, Source
from sizewise.protocols.artifacts import VERSION_CHARS, ArtifactStore
from sizewise.protocols.backend import Snapshot

LOADING = frozenset({ReplicaState.STARTING, ReplicaState.LOADING})


class Housekeeper:
    """``since_s`` is when the controller began: what happened before is not known, so it counts as activity."""

    def __init__(
        self, *, registry: Registry, store: ArtifactStore, weigher: Weigher, memory_bytes: int, since_s: float
    ) -> None:
        self.disk_used_bytes = 0
        self._registry = registry
        self._store = store
        self._weigher = weigher
        self._memory_bytes = memory_bytes
        self._since_s = since_s
        self._snapshot = Snapshot(at_s=since_s)
        self._profiles: MutableMapping[str, ModelProfile] = {}
        self._collected: set[str] | None = None
        """Artifacts that were referenced when garbage was last collected."""
        self._idle = IdleProfiler(self._measure, self._measured)

    async def tidy(
        self, snapshot: Snapshot, ledger: Ledger, profiles: MutableMapping[str, ModelProfile], *, now_s: float
    ) -> None:
        self._snapshot, self._profiles = snapshot, profiles
        unmeasured = [
            record
            for record in self._registry
            if record.serving.path and profiles[record.serving.hash].source is Source.ESTIMATED
        ]
        idle = self._is_idle(ledger, now_s)
        await self._idle.look(idle=idle, unmeasured=unmeasured, known=self._registry.find)
        if self._registry.hashes() != self._collected:
            await self._collect()

    def request_profile(self, model: str) -> None:
        self._idle.request(model)

    async def close(self) -> None:
        await self._idle.close()

    async def _collect(self) -> None:
        """Remove artifacts that nobody refers to and no replica has open."""
        async with self._registry.collecting() as may:
            if not may:
                return
            needed = self._registry.hashes()
            in_use = {replica.version for replica in self._snapshot.replicas}
            stored = await asyncio.to_thread(self._store.sizes)
            garbage = [h for h in stored if h not in needed]
            removed = [h for h in garbage if h[:VERSION_CHARS] not in in_use]
            for content_hash in removed:
                await asyncio.to_thread(self._store.remove, content_hash)
            self.disk_used_bytes = sum(size for h, size in stored.items() if h not in removed)
            # What is still open is looked at again at the next tick.
            self._collected = needed if removed == garbage else None
            for gone in self._profiles.keys() - needed:
                del self._profiles[gone]

    def _is_idle(self, ledger: Ledger, now_s: float) -> bool:
        """Nobody asks, nothing loads, and no version is changing."""
        if now_s - self._since_s < QUIET_S or any(r.state in LOADING for r in self._snapshot.replicas):
            return False
        for record in self._registry:
            demand = ledger.demand(record.name, now_s)
            if demand.in_flight or demand.queued or demand.idle_s < QUIET_S or record.candidate is not None:
                return False
        return True

    async def _measure(self, record: ModelRecord) -> ModelProfile:
        used = overhead_bytes(self._snapshot) + sum(r.memory_bytes for r in self._snapshot.replicas)
        return await self._weigher.measure(record, self._memory_bytes - used)

    def _measured(self, content_hash: str, profile: ModelProfile) -> None:
        self._profiles[content_hash] = profile
